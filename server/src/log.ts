/** What a program needs to read a run's log and compute it again. */
export { type Corpus, loadCorpus, Sampler } from './corpus.ts';
export { type Genesis, type Machine, maker } from './run-log.ts';
