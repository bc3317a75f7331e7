// A first visit to an empty database: one example, so that retrieval is seen at work at once.

import { ingest } from './add.js';
import { chooseCollection, isEmpty, loadCollections } from './collections.js';
import { byId } from './dom.js';
import { DEFAULTS } from './link.js';

/** Apart from `default`, so that the example never mixes with documents of one's own. */
const COLLECTION = 'example';

const EXAMPLE = {
  id: 'mirel-island',
  title: 'Mirel Island',
  source: 'Example of the playground, invented',
  collection: COLLECTION,
  text: `Mirel Island is an island in the Sea of Tarn. It was discovered in 1782 by the Dutch captain Jan Verhoeven, who was looking for fresh water. The island is home to the blue-footed lantern bird, which nests only on its cliffs.

The lighthouse of Mirel Island was built in 1861. It was designed by the engineer Clara Lindqvist and is 38 metres high. The first keeper of the lighthouse was Tobias Hale, who lived there with his wife and four children for thirty years.`,
};

const INPUTS = {
  ...DEFAULTS,
  mode: 'compare',
  prompt: 'The first keeper of the lighthouse of Mirel Island was',
  maxTokens: 24,
  collection: COLLECTION,
};

export function createWelcome({ onReady, onProblem }) {
  const box = byId('welcome');
  const button = byId('welcome-run');
  const wording = button.textContent;

  button.addEventListener('click', async () => {
    button.disabled = true;
    button.textContent = 'Adding the example\u2026';
    try {
      const tasks = await ingest([EXAMPLE], () => {});
      const failed = tasks.find((task) => task.status !== 'succeeded');
      if (failed) throw new Error(failed.error ?? `The task was ${failed.status}.`);
      await loadCollections();
      chooseCollection(COLLECTION);
      box.hidden = true;
      onReady(INPUTS);
    } catch (error) {
      onProblem(error);
    } finally {
      button.disabled = false;
      button.textContent = wording;
    }
  });

  return {
    update() {
      box.hidden = !isEmpty();
    },
  };
}
