import { z } from 'zod';
import { itemsOf, labelOf, timeOf, whyOf, type ImportItem } from './imported.ts';

/**
 * A conversation of a ChatGPT export. It is a tree: every edit and every regenerated answer is a branch. What
 * the person saw last is the branch that ends in `current_node`; nothing off it was kept by them.
 */
const Message = z.object({
  id: z.string().optional(),
  author: z.object({ role: z.string() }),
  create_time: z.number().nullish(),
  content: z.looseObject({ content_type: z.string() }),
  metadata: z.looseObject({}).nullish(),
  recipient: z.string().nullish(),
  weight: z.number().nullish(),
});
type Message = z.infer<typeof Message>;
const Node = z.object({ message: z.unknown().optional(), parent: z.string().nullish() });
const Conversation = z.object({
  title: z.string().nullish(),
  id: z.string().optional(),
  conversation_id: z.string().optional(),
  create_time: z.number().nullish(),
  current_node: z.string().nullish(),
  is_do_not_remember: z.boolean().nullish(),
  mapping: z.record(z.string(), Node),
});
type Conversation = z.infer<typeof Conversation>;

/** Whether a JSON value is a conversation of ChatGPT, sound or not. */
export const isChatgptConversation = (value: object): boolean => 'mapping' in value;

/** What a conversation of ChatGPT says: its messages as episodic memories. */
export function* chatgptItems(value: unknown, where: string): Generator<ImportItem> {
  const read = Conversation.safeParse(value);
  if (!read.success) {
    yield { kind: 'fault', where, why: whyOf(read.error) };
    return;
  }
  const conversation = read.data;
  const branch = branchOf(conversation);
  for (const [id, { message }] of Object.entries(conversation.mapping))
    if (!branch.has(id))
      yield { kind: 'skipped', reason: message == null ? 'no message' : 'off the current branch', where };
  let time = conversation.create_time;
  for (const [id, node] of [...branch].reverse()) {
    const at = `${where}, message ${id}`;
    if (node.message == null) {
      yield { kind: 'skipped', reason: 'no message', where: at };
      continue;
    }
    const message = Message.safeParse(node.message);
    if (!message.success) {
      yield { kind: 'fault', where: at, why: whyOf(message.error) };
      continue;
    }
    time = message.data.create_time ?? time;
    yield* messageItems(conversation, message.data, id, time, at);
  }
}

/** The nodes from the end of the branch up to the root. A parent that was passed already ends it. */
function branchOf({ mapping, current_node }: Conversation): Map<string, z.infer<typeof Node>> {
  const branch = new Map<string, z.infer<typeof Node>>();
  let id = current_node != null && Object.hasOwn(mapping, current_node) ? current_node : newestLeaf(mapping);
  while (id != null && !branch.has(id) && Object.hasOwn(mapping, id)) {
    const node = mapping[id];
    if (node === undefined) break;
    branch.set(id, node);
    id = node.parent ?? undefined;
  }
  return branch;
}

function newestLeaf(mapping: Conversation['mapping']): string | undefined {
  const parents = new Set(Object.values(mapping).map(({ parent }) => parent));
  const leaves = Object.entries(mapping).filter(([id]) => !parents.has(id));
  const timeOfNode = ({ message }: z.infer<typeof Node>) => Message.safeParse(message).data?.create_time ?? 0;
  return leaves.sort(([, a], [, b]) => timeOfNode(b) - timeOfNode(a))[0]?.[0];
}

function* messageItems(
  { title, id: oldId, conversation_id, is_do_not_remember }: Conversation,
  message: Message,
  id: string,
  time: number | null | undefined,
  where: string,
): Generator<ImportItem> {
  const reason = is_do_not_remember === true ? 'marked do-not-remember' : whyNot(message);
  const isContext = CONTEXTS.has(message.content.content_type);
  if (reason !== undefined && (!isContext || is_do_not_remember === true)) {
    yield { kind: 'skipped', reason, where };
    return;
  }
  yield* itemsOf(
    {
      text: textOf(message.content),
      type: isContext ? 'semantic' : 'episodic',
      from: 'ChatGPT',
      reference: message.id ?? id,
      category: isContext ? 'instructions' : null,
      thread: labelOf(conversation_id ?? oldId),
      valid_from: timeOf(time),
      metadata: { role: message.author.role, ...(labelOf(title) === null ? {} : { title: labelOf(title) }) },
    },
    where,
  );
}

/** Hidden messages that hold what the person or the model asked to be kept in mind. */
const CONTEXTS = new Set(['user_editable_context', 'model_editable_context']);
const TEXTS = new Set(['text', 'multimodal_text']);

/** Why a message on the branch was no part of the talk, if it was none. */
function whyNot({ author, recipient, metadata, weight, content }: Message): string | undefined {
  if (author.role !== 'user' && author.role !== 'assistant') return `role ${author.role.slice(0, 40)}`;
  if ((recipient ?? 'all') !== 'all') return 'said to a tool';
  if (metadata?.['is_visually_hidden_from_conversation'] === true || weight === 0) return 'hidden';
  if (!TEXTS.has(content.content_type)) return `content ${content.content_type.slice(0, 40)}`;
  return undefined;
}

const Parts = z.object({ parts: z.array(z.unknown()) });
const Transcription = z.object({ content_type: z.literal('audio_transcription'), text: z.string() });
const Context = z.object({
  user_profile: z.string().nullish(),
  user_instructions: z.string().nullish(),
  model_set_context: z.string().nullish(),
});

function textOf(content: Message['content']): string {
  if (CONTEXTS.has(content.content_type)) {
    const { user_profile, user_instructions, model_set_context } = Context.safeParse(content).data ?? {};
    return [user_profile, user_instructions, model_set_context].filter((part) => part != null).join('\n');
  }
  const parts = Parts.safeParse(content).data?.parts ?? [];
  return parts
    .map((part) => (typeof part === 'string' ? part : (Transcription.safeParse(part).data?.text ?? '')))
    .filter((part) => part !== '')
    .join('\n');
}
