import { z } from 'zod';

// The page allows no code that is made from text: without this, the library of schemas would try it once.
// Schemas ask for this setting when they are made, so that it stands before all that makes one.
z.config({ jitless: true });
