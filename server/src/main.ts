import { SwarmError } from '@starling/protocol';
import { parseServerArgs, SERVER_HELP, startServer } from './index.ts';

// Whoever reads what is said may go away: training goes on.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

try {
  const options = parseServerArgs(process.argv.slice(2));
  if (options === 'help') {
    console.log(SERVER_HELP);
  } else {
    const server = await startServer(options);
    server.onStep(({ step, loss, validationLoss, tokensPerSecond }) =>
      console.log(
        `step ${step}  loss ${loss.toFixed(4)}${validationLoss === null ? '' : `  validation ${validationLoss.toFixed(4)}`}  ${Math.round(tokensPerSecond)} tokens/s`,
      ),
    );
    const stop = async () => {
      await server.close();
      process.exit(0);
    };
    void server.failed.then(async (fault) => {
      console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
      await server.close().catch(() => {});
      process.exit(1);
    });
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
    const { url } = server;
    const known = options.publicUrl?.replace(/\/+$/, '') ?? url;
    // Last: whoever waits for it may stop the server at once.
    console.log(`Open ${known} to mine, ${known}/dashboard to watch.${known === url ? '' : ` It listens at ${url} here.`}`);
  }
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  if (fault.code === 'INTERNAL') console.error(fault.cause);
  process.exit(fault.code === 'CONFIG_INVALID' ? 2 : 1);
}
