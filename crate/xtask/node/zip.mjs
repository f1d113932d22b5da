// One entry of a zip file, as a stream; read from the central directory, so no size is guessed.
import fs from 'node:fs';
import zlib from 'node:zlib';

export async function openEntry(file, name) {
  const handle = await fs.promises.open(file, 'r');
  const read = async (position, length) => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
    return buffer.subarray(0, bytesRead);
  };
  const { size } = await handle.stat();
  const tail = await read(Math.max(0, size - 65557), Math.min(size, 65557));
  const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error(`${file} is not a zip file`);
  const directory = await read(tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  for (let i = 0; i + 46 <= directory.length;) {
    const [nameLength, extra, comment] = [28, 30, 32].map((o) => directory.readUInt16LE(i + o));
    if (directory.toString('utf8', i + 46, i + 46 + nameLength) === name) {
      const method = directory.readUInt16LE(i + 10);
      const packed = directory.readUInt32LE(i + 20);
      const header = directory.readUInt32LE(i + 42);
      const local = await read(header, 30);
      const start = header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
      const raw = handle.createReadStream({ start, end: start + packed - 1 });
      return method === 8 ? raw.pipe(zlib.createInflateRaw()) : raw;
    }
    i += 46 + nameLength + extra + comment;
  }
  throw new Error(`${file} holds no ${name}`);
}
