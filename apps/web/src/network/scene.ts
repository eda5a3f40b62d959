/** The moving picture: what was told lately, as particles, pulses and marks on a canvas. */
import type { Move } from '@starling/protocol';
import { type Column, type Dot, HEAD } from './layout.ts';

export interface Palette {
  ink: string;
  /** What is behind it all. */
  card: string;
  muted: string;
  line: string;
  forward: string;
  backward: string;
  wait: string;
  bad: string;
}

interface Particle {
  from: Dot;
  to: Dot;
  color: 'forward' | 'backward';
  start: number;
}

const FLIGHT_MS = 700;
const PULSE_MS = 1_100;
const MARK_MS = 2_500;
/** Dots this large have their name beside them. */
const NAMED_FROM = 11;
/** More at once nobody can tell apart. */
const MOST_PARTICLES = 240;

export class Scene {
  private columns: readonly Column[] = [];
  private readonly dots = new Map<string, Dot>();
  private particles: Particle[] = [];
  private readonly pulses = new Map<number, number>();
  private readonly marks = new Map<string, { start: number; outcome: string }>();
  private turn = 0;

  show(columns: readonly Column[]): void {
    this.columns = columns;
    this.dots.clear();
    for (const { dots } of columns) for (const dot of dots) this.dots.set(dot.id, dot);
  }

  /** `still`: nothing flies (reduced motion). `now`: ms, here as below. */
  moved(moves: readonly Move[], now: number, still: boolean): void {
    for (const move of moves) {
      if (move.kind === 'merge') this.pulses.set(move.stage, now);
      else if (move.kind === 'audit') this.marks.set(move.minerId, { start: now, outcome: move.outcome });
      else if (!still) this.fly(move, now);
    }
  }

  private fly({ kind, minerId }: { kind: string; minerId: string }, now: number): void {
    const from = this.dots.get(minerId);
    if (!from || this.particles.length >= MOST_PARTICLES) return;
    const backward = kind === 'backward';
    const neighbours = this.columns[from.stage + (backward ? -1 : 1)]?.dots.filter(({ connected }) => connected) ?? [];
    // To whom it goes is drawn when it is needed: any of them stands for the stage.
    const to = neighbours[this.turn++ % Math.max(1, neighbours.length)];
    // Receipts of a quarter of a second are told together: they set out one after the other.
    const start = now + (this.turn % 6) * 40;
    if (to) this.particles.push({ from, to, color: backward ? 'backward' : 'forward', start });
  }

  /** True while something moves. */
  isMoving(now: number): boolean {
    return (
      this.particles.length > 0 ||
      [...this.pulses.values()].some((start) => now - start < PULSE_MS) ||
      [...this.marks.values()].some(({ start }) => now - start < MARK_MS)
    );
  }

  draw(context: CanvasRenderingContext2D, width: number, height: number, palette: Palette, chosen: ReadonlySet<string>, now: number): void {
    context.clearRect(0, 0, width, height);
    this.drawColumns(context, height, palette, now);
    this.drawParticles(context, palette, now);
    for (const { dots } of this.columns) for (const dot of dots) this.drawDot(context, dot, palette, chosen.has(dot.id), now);
    // Last, so that nothing covers them.
    for (const { dots, named } of this.columns) if (named) for (const dot of dots) this.drawName(context, dot, palette);
  }

  private drawColumns(context: CanvasRenderingContext2D, height: number, palette: Palette, now: number): void {
    context.textAlign = 'center';
    context.font = '600 12px system-ui, sans-serif';
    for (const { stage, x, reach, phase, version, done } of this.columns) {
      const pulse = 1 - Math.min(1, (now - (this.pulses.get(stage) ?? Number.NEGATIVE_INFINITY)) / PULSE_MS);
      context.strokeStyle = palette.line;
      context.lineWidth = 1;
      box(context, x - reach + 6, 2, 2 * reach - 12, height - 4);
      context.stroke();
      if (pulse > 0) {
        context.globalAlpha = pulse;
        context.strokeStyle = palette.backward;
        context.lineWidth = 3;
        box(context, x - reach + 6, 2, 2 * reach - 12, height - 4);
        context.stroke();
        context.globalAlpha = 1;
      }
      context.fillStyle = palette.ink;
      context.fillText(`Stage ${stage}`, x, 20);
      context.fillStyle = palette.muted;
      context.fillRect(x - reach + 18, HEAD - 6, (2 * reach - 36) * done, 2);
      if (reach > 60) {
        context.font = '11px system-ui, sans-serif';
        context.fillText(phase === 'training' ? `v${version}` : phase, x, height - 8);
        context.font = '600 12px system-ui, sans-serif';
      }
    }
  }

  private drawParticles(context: CanvasRenderingContext2D, palette: Palette, now: number): void {
    this.particles = this.particles.filter(({ start }) => now - start < FLIGHT_MS);
    for (const { from, to, color, start } of this.particles) {
      const t = (now - start) / FLIGHT_MS;
      if (t < 0) continue;
      const s = t * t * (3 - 2 * t);
      const x = from.x + (to.x - from.x) * s;
      const y = from.y + (to.y - from.y) * s + (color === 'forward' ? -1 : 1) * 18 * Math.sin(Math.PI * s);
      context.globalAlpha = 0.9 * (1 - t * t);
      context.fillStyle = palette[color];
      context.beginPath();
      context.arc(x, y, 2.6, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  private drawDot(context: CanvasRenderingContext2D, dot: Dot, palette: Palette, chosen: boolean, now: number): void {
    const { x, y, radius, connected, working, banned } = dot;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = banned ? palette.bad : working ? palette.forward : palette.wait;
    context.globalAlpha = connected ? 1 : 0.25;
    context.fill();
    context.globalAlpha = 1;
    if (chosen) {
      context.lineWidth = 2.5;
      context.strokeStyle = palette.ink;
      context.beginPath();
      context.arc(x, y, radius + 4, 0, 2 * Math.PI);
      context.stroke();
    }
    const mark = this.marks.get(dot.id);
    if (!mark || now - mark.start >= MARK_MS) return;
    context.globalAlpha = 1 - (now - mark.start) / MARK_MS;
    context.lineWidth = 2;
    context.strokeStyle = mark.outcome === 'failed' ? palette.bad : palette.backward;
    context.strokeRect(x - radius - 4, y - radius - 4, 2 * radius + 8, 2 * radius + 8);
    context.globalAlpha = 1;
  }

  private drawName(context: CanvasRenderingContext2D, { name, x, y, radius }: Dot, palette: Palette): void {
    if (radius < NAMED_FROM) return;
    const text = name.length > 14 ? `${name.slice(0, 13)}…` : name;
    context.font = '11px system-ui, sans-serif';
    context.textAlign = 'left';
    // What flies behind it does not blur it.
    context.lineWidth = 4;
    context.lineJoin = 'round';
    context.strokeStyle = palette.card;
    context.strokeText(text, x + radius + 8, y + 4);
    context.fillStyle = palette.muted;
    context.fillText(text, x + radius + 8, y + 4);
  }
}

function box(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number): void {
  context.beginPath();
  context.roundRect(x, y, Math.max(0, width), Math.max(0, height), 10);
}
