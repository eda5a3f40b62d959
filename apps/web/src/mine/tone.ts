/**
 * Browsers slow hidden tabs down and may put them to sleep, but not while they play sound: a tone far below what anybody hears keeps a
 * tab awake. Only where the visitor asks for it, since the tab then shows a loudspeaker.
 */
const LEVEL = 0.0005;
const HERTZ = 40;

let context: AudioContext | null = null;

/** To be called in a click, or the browser does not let it play. */
export function playTone(wanted: boolean): void {
  if (!wanted) {
    void context?.close();
    context = null;
    return;
  }
  if (context) return;
  context = new AudioContext();
  const [oscillator, gain] = [context.createOscillator(), context.createGain()];
  oscillator.frequency.value = HERTZ;
  gain.gain.value = LEVEL;
  oscillator.connect(gain).connect(context.destination);
  oscillator.start();
}
