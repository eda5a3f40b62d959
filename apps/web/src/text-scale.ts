/** How much larger text is than at its usual size, for what draws its own: the root's font size, which is 10 px (base.css), grows on wide screens. */
export const textScale = (): number => Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 10;
