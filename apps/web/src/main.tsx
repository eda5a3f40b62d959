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
import { start, wasMining } from './mine/mining.ts';
import { isLean, wantedWallet, wantsAutostart } from './mine/settings.ts';
import { compareClocks } from './server-clock.ts';

if (wantsAutostart(new URLSearchParams(location.search)) || wasMining()) void start();
const wallet = wantedWallet(new URLSearchParams(location.search));
if (wallet) void import('./wallet/wallet-state.ts').then(({ linkFirst }) => linkFirst(wallet));
const lean = isLean(new URLSearchParams(location.search));
if (!lean) {
  watch();
  compareClocks();
}

createRoot(document.getElementById('root')!).render(<StrictMode>{lean ? <Lean /> : <App />}</StrictMode>);
