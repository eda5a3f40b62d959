/** The least a Socket.IO server can do: acknowledge every message. What anything on top of it is measured against. */
import { Server } from 'socket.io';

const io = new Server(0, { perMessageDeflate: false, serveClient: false });
io.on('connection', (socket) => {
  socket.on('echo', (_, reply: (value: { ok: true }) => void) => reply({ ok: true }));
});
process.on('disconnect', () => process.exit(0));
process.send!({ port: (io.httpServer.address() as { port: number }).port });
