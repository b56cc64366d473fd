// Counts words: text in, a count for each word out.
import { progress } from 'stem:task/context@0.1.0';
import { emit } from 'stem:task/log@0.1.0';

const json = 'application/json';

// What lies between spaces and ASCII punctuation: the engine is built without Unicode's classes (`\p{L}`).
const words = /[^\s!-/:-@[-`{-~]+/g;

const payloadSchema = {
  type: 'object',
  properties: { text: { type: 'string', description: 'The text whose words are counted.' } },
  required: ['text'],
};

export const handler = {
  describe() {
    return [
      {
        name: 'word-count-js',
        description: 'Counts how often each word occurs; words lie between spaces and punctuation, and count in lower case.',
        payloadSchema: JSON.stringify(payloadSchema),
        resultSchema: JSON.stringify({ type: 'object', additionalProperties: { type: 'integer' } }),
        defaults: [['max-attempts', '3'], ['hard-time-limit', '10s']],
      },
    ];
  },

  run(attempt, payload) {
    const input = JSON.parse(new TextDecoder().decode(payload.body));
    if (typeof input.text !== 'string') {
      throw rejected('invalid-payload', 'there is no `text` in the payload');
    }
    const counts = {};
    for (const [word] of input.text.toLowerCase().matchAll(words)) {
      counts[word] = (counts[word] ?? 0) + 1;
    }
    const different = Object.keys(counts).length;
    emit('info', 'counted', [['words', String(different)], ['attempt', String(attempt.number)]]);
    progress(1.0, `${different} different words`);
    return { contentType: json, body: new TextEncoder().encode(JSON.stringify(counts)) };
  },
};

// What is thrown so is the task's own failure; anything else that is thrown is a trap.
function rejected(kind, message) {
  return { payload: { tag: 'reject', val: { kind, message, details: [] } } };
}
