// Makes a component of a task's source: `node build.mjs SOURCE WIT COMPONENT`.
import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, file] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName: 'task',
  // What the engine can do it imports, used or not: and a network is imported only where it is granted.
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(file, component);
