// Runs before the first paint, so that a remembered theme never flashes the other one. `src/theme.ts` owns the key.
try {
  const theme = localStorage.getItem('starling.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is blocked: the system theme is used.
}
