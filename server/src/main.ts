import { SwarmError } from '@starling/protocol';
import { parseServerArgs, SERVER_HELP, startServer } from './index.ts';

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
    // Last: whoever waits for it may stop the server at once.
    console.log(`Open ${server.url} to mine, ${server.url}/dashboard to watch.`);
  }
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  if (fault.code === 'INTERNAL') console.error(fault.cause);
  process.exit(fault.code === 'CONFIG_INVALID' ? 2 : 1);
}
