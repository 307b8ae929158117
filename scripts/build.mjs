// `npm run build`: builds whatever the last build was of, so that `npm start` and `npm test` find it done.
import { build } from './setup.mjs';

await build();
