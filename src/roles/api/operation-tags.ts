/** The chapters of the description. */
export const TAGS = {
  Jobs: 'Submit a job, follow it, and fetch its confirmed output and its receipt.',
  OpenAI: "Chat completions, text completions and embeddings for OpenAI's clients, answered once they are confirmed.",
  Responses: "OpenAI's Responses API: a response is a chat job under another name.",
  Files: "Files in OpenAI's shape: the input and the results of batches.",
  Batches: "Batches in OpenAI's shape, run behind interactive work.",
  Schedules: 'Jobs that are submitted again and again, by cron expressions in a time zone.',
  Memory: 'What people and agents keep here: remembered, found, corrected, erased with a receipt.',
  Events: "A tenant's events as a stream and as signed webhooks.",
  Usage: 'What a job would cost, and what was used.',
  Tenant: 'Your tenant and its API keys, for its administrator.',
  Admin: 'Tenants, API keys and limits, for the operator of the installation.',
  Directory: 'Models, workers and public keys.',
  Log: 'The transparency log, open to everyone (C2SP tlog-tiles).',
  Operations: 'Health, metrics and this description.',
} as const;
