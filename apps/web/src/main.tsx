import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/mine.css';
import './styles/history.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { watch } from './live.ts';
import { Lean } from './mine/lean.tsx';
import { resumeAfterReload, start } from './mine/mining.ts';
import { isLean, wantedWallet, wantsAutostart } from './mine/settings.ts';
import { Part } from './part.tsx';
import { compareClocks } from './server-clock.ts';

const query = new URLSearchParams(location.search);
void resumeAfterReload().then((resumed) => {
  if (!resumed && wantsAutostart(query, navigator.webdriver)) void start();
});
const wallet = wantedWallet(query, navigator.webdriver);
if (wallet) void import('./wallet/wallet-state.ts').then(({ linkFirst }) => linkFirst(wallet)).catch(reportError);
const lean = isLean(query);
if (!lean) {
  watch();
  compareClocks();
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Part name="The page">{lean ? <Lean /> : <App />}</Part>
  </StrictMode>,
);
