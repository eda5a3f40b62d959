import '../styles/network.css';
import type { Move, RunSnapshot } from '@starling/protocol';
import { type PointerEvent, useEffect, useEffectEvent, useRef, useState } from 'react';
import { count, plural } from '../format.ts';
import { onMoves } from '../live.ts';
import { ACTIVITY_WORDS } from '../mine/activity.ts';
import { minerPath, stagePath } from '../paths.ts';
import { navigate } from '../router.tsx';
import { textScale } from '../text-scale.ts';
import { onTheme } from '../theme.ts';
import { type Column, type Dot, layOut, under } from './layout.ts';
import { type Palette, Scene } from './scene.ts';
import { useFound } from './use-found.ts';

const COLORS: Record<keyof Palette, string> = {
  ink: '--ink',
  card: '--card',
  muted: '--ink-3',
  line: '--line',
  forward: '--violet',
  backward: '--green',
  wait: '--ink-3',
  bad: '--red',
};

/** Pixels from a dot that still mean it: a finger is not as exact as a pointer. */
const NEAR = { pointer: 6, finger: 14 };

/** The pipeline as it works: stages as columns, miners as dots, activations and gradients between them. `moves`: those to show, or `live`. */
export function Network({ run, moves }: { run: RunSnapshot; moves: readonly Move[] | 'live' }) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const picture = useRef<{ scene: Scene; columns: Column[]; palette: Palette | null; frame: number }>({
    ...{ scene: new Scene(), columns: [], palette: null, frame: 0 },
  });
  const [named, setNamed] = useState<Dot | null>(null);
  const [byFinger, setByFinger] = useState(false);
  const [query, setQuery] = useState('');
  const found = useFound(run, query);

  const draw = useEffectEvent(() => {
    const { current } = picture;
    current.frame = 0;
    const element = canvas.current;
    const context = element?.getContext('2d');
    if (!element || !context) return;
    const { clientWidth, clientHeight } = element;
    const width = Math.round(clientWidth * devicePixelRatio);
    const height = Math.round(clientHeight * devicePixelRatio);
    if (element.width !== width || element.height !== height) Object.assign(element, { width, height });
    const zoom = textScale();
    const scale = devicePixelRatio * zoom;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    current.palette ??= paletteOf(element);
    const now = performance.now();
    current.scene.draw(context, clientWidth / zoom, clientHeight / zoom, current.palette, new Set(found.map(({ id }) => id)), now);
    if (current.scene.isMoving(now)) schedule();
  });
  const schedule = useEffectEvent(() => {
    const { current } = picture;
    if (current.frame === 0) current.frame = requestAnimationFrame(draw);
  });
  const arrange = useEffectEvent(() => {
    const { current } = picture;
    // Told of a last change of size when it is not on the page any more.
    if (!box.current) return;
    const { clientWidth, clientHeight } = box.current;
    const zoom = textScale();
    current.columns = layOut(run, clientWidth / zoom, clientHeight / zoom, Date.now());
    current.scene.show(current.columns);
    // A name stays with its miner, wherever that is drawn now.
    setNamed((was) => was && (current.columns.flatMap(({ dots }) => dots).find(({ id }) => id === was.id) ?? null));
    schedule();
  });

  useEffect(arrange, [run, found]);
  useEffect(() => {
    const resized = new ResizeObserver(() => arrange());
    resized.observe(box.current!);
    const forget = onTheme(() => {
      picture.current.palette = null;
      schedule();
    });
    return () => {
      resized.disconnect();
      forget();
      cancelAnimationFrame(picture.current.frame);
      picture.current.frame = 0;
    };
  }, []);
  const move = useEffectEvent((some: readonly Move[]) => {
    if (some.length === 0) return;
    picture.current.scene.moved(some, performance.now(), matchMedia('(prefers-reduced-motion: reduce)').matches);
    schedule();
  });
  useEffect(() => (moves === 'live' ? onMoves((some) => move(some)) : move(moves)), [moves]);

  const at = ({ nativeEvent: { offsetX, offsetY } }: PointerEvent | React.MouseEvent, near: number) =>
    under(picture.current.columns, offsetX / textScale(), offsetY / textScale(), near);
  const point = (event: PointerEvent) => {
    if (event.pointerType === 'touch') return;
    const what = at(event, NEAR.pointer);
    setNamed(what && 'dot' in what ? what.dot : null);
    canvas.current!.style.cursor = what ? 'pointer' : '';
  };
  const open = (event: React.MouseEvent) => {
    const what = at(event, byFinger ? NEAR.finger : NEAR.pointer);
    // A finger cannot point without touching: it is told first whom it would open.
    if (byFinger && what && 'dot' in what && what.dot.id !== named?.id) setNamed(what.dot);
    else if (what) navigate('dot' in what ? minerPath(what.dot.id) : stagePath(what.stage));
  };
  const miners = run.stages.flatMap((stage) => stage.miners);
  const shown = named && miners.find(({ id }) => id === named.id);
  return (
    <section className="panel network" aria-labelledby="network">
      <div className="panel-head">
        <h2 id="network">The network</h2>
        <form
          className="network-find"
          onSubmit={(event) => {
            event.preventDefault();
            if (found[0]) navigate(minerPath(found[0].id));
          }}
        >
          <input
            type="search"
            placeholder="Find a miner: name, UID, hotkey"
            aria-label="Find a miner by name, UID or hotkey"
            value={query}
            onChange={(event) => setQuery(event.target.value)}
          />
          <output className="muted">{query.trim() === '' ? plural(miners.length, 'miner') : `${count(found.length)} found`}</output>
        </form>
      </div>
      <div className="network-box" ref={box}>
        {/* The same for those who do not see it: the stages below, each miner a link. */}
        <canvas
          ref={canvas}
          role="img"
          aria-label={run.stages
            .map(({ index, miners: crew, phase }) => `stage ${index}: ${plural(crew.length, 'miner')}, ${phase}`)
            .join('; ')}
          onPointerDown={({ pointerType }) => setByFinger(pointerType === 'touch')}
          onPointerMove={point}
          onPointerLeave={({ pointerType }) => pointerType !== 'touch' && setNamed(null)}
          onClick={open}
        />
        {named && shown && (
          <div
            className="network-tip"
            // As far to its left as the dot is from the left: so it is never outside of the box.
            style={{
              ...{ left: named.x * textScale(), top: named.y * textScale() },
              translate: `${(-100 * named.x * textScale()) / box.current!.clientWidth}% 0`,
            }}
          >
            <b>{shown.name || shown.id}</b>
            <span>
              {shown.connected ? ACTIVITY_WORDS[shown.activity] : 'disconnected'} · {count(shown.tokensPerSecond)} tok/s
            </span>
            {byFinger && <span className="muted">Tap again for its page</span>}
          </div>
        )}
      </div>
      <ul className="network-key" aria-hidden="true">
        <li className="forward">activations</li>
        <li className="backward">gradients</li>
        <li className="merge">merge</li>
        <li className="audit">audit</li>
      </ul>
    </section>
  );
}

function paletteOf(element: HTMLElement): Palette {
  const before = element.style.color;
  const resolve = (name: string) => {
    element.style.color = `var(${name})`;
    return getComputedStyle(element).color;
  };
  const palette = Object.fromEntries(Object.entries(COLORS).map(([key, name]) => [key, resolve(name)])) as unknown as Palette;
  element.style.color = before;
  return palette;
}
