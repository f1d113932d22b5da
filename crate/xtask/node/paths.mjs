// Where things are, for the scripts beside this one.
import { fileURLToPath } from 'node:url';
import path from 'node:path';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const at = (...parts) => path.join(root, ...parts);
