import { z } from 'zod';
import { itemsOf, labelOf, timeOf, whyOf, type ImportItem } from './imported.ts';
import { markdownMemories } from './markdown.ts';

const Message = z.object({
  uuid: z.string(),
  sender: z.string(),
  text: z.string().nullish(),
  content: z.array(z.looseObject({ type: z.string() })).nullish(),
  created_at: z.string().nullish(),
  attachments: z.array(z.unknown()).nullish(),
  parent_message_uuid: z.string().nullish(),
});
type Message = z.infer<typeof Message>;
const Conversation = z.object({
  uuid: z.string(),
  name: z.string().nullish(),
  chat_messages: z.array(z.unknown()),
});
const Memories = z.object({
  conversations_memory: z.string().nullish(),
  project_memories: z.record(z.string(), z.string()).nullish(),
  account_uuid: z.string().nullish(),
});

/** Whether a JSON value is a conversation of a Claude export, sound or not. */
export const isClaudeConversation = (value: object): boolean => 'chat_messages' in value;

/** Whether a JSON value is what Claude keeps in mind of an account. */
export const isClaudeMemories = (value: object): boolean =>
  'conversations_memory' in value || 'project_memories' in value;

/** What a conversation of Claude says: its messages as episodic memories. */
export function* claudeItems(value: unknown, where: string): Generator<ImportItem> {
  const read = Conversation.safeParse(value);
  if (!read.success) {
    yield { kind: 'fault', where, why: whyOf(read.error) };
    return;
  }
  const { uuid, name, chat_messages } = read.data;
  const messages: Message[] = [];
  for (const [at, one] of chat_messages.entries()) {
    const message = Message.safeParse(one);
    if (message.success) messages.push(message.data);
    else yield { kind: 'fault', where: `${where}, message ${at + 1}`, why: whyOf(message.error) };
  }
  const branch = branchOf(messages);
  for (const message of messages) {
    const at = `${where}, message ${message.uuid}`;
    for (const _ of message.attachments ?? []) yield { kind: 'skipped', reason: 'attachment', where: at };
    if (!branch.has(message.uuid)) {
      yield { kind: 'skipped', reason: 'off the current branch', where: at };
      continue;
    }
    yield* itemsOf(
      {
        text: textOf(message),
        type: 'episodic',
        from: 'Claude',
        reference: message.uuid,
        thread: labelOf(uuid),
        valid_from: timeOf(message.created_at),
        metadata: {
          role: message.sender === 'human' ? 'user' : message.sender,
          ...(labelOf(name) === null ? {} : { title: labelOf(name) }),
        },
      },
      at,
    );
  }
}

/** What Claude keeps in mind of an account, heading by heading and paragraph by paragraph. */
export function* claudeMemoryItems(value: unknown, where: string): Generator<ImportItem> {
  const read = Memories.safeParse(value);
  if (!read.success) {
    yield { kind: 'fault', where, why: whyOf(read.error) };
    return;
  }
  const { conversations_memory, project_memories } = read.data;
  const texts = [
    { text: conversations_memory ?? '', project: undefined },
    ...Object.entries(project_memories ?? {}).map(([project, text]) => ({ text, project })),
  ];
  for (const { text, project } of texts)
    for (const { line, section, text: said } of markdownMemories(text))
      yield* itemsOf(
        {
          text: said,
          from: 'Claude',
          category: labelOf(section),
          metadata: project === undefined ? {} : { project },
        },
        `${where}, line ${line}`,
      );
}

/** The messages from the newest leaf up, where they name their parents; else all of them. */
function branchOf(messages: readonly Message[]): Set<string> {
  if (messages.every(({ parent_message_uuid }) => parent_message_uuid == null))
    return new Set(messages.map(({ uuid }) => uuid));
  const byId = new Map(messages.map((message) => [message.uuid, message]));
  const parents = new Set(messages.map(({ parent_message_uuid }) => parent_message_uuid));
  const leaves = messages.filter(({ uuid }) => !parents.has(uuid));
  const timeOfMessage = ({ created_at }: Message) => Date.parse(created_at ?? '') || 0;
  let at = leaves.sort((a, b) => timeOfMessage(b) - timeOfMessage(a))[0];
  const branch = new Set<string>();
  while (at !== undefined && !branch.has(at.uuid)) {
    branch.add(at.uuid);
    at = byId.get(at.parent_message_uuid ?? '');
  }
  return branch;
}

const TextBlock = z.object({ type: z.literal('text'), text: z.string() });

/** The text blocks, or the plain text without them. What a model thought or a tool said is neither. */
function textOf({ content, text }: Message): string {
  const blocks = (content ?? []).flatMap((block) => TextBlock.safeParse(block).data?.text ?? []);
  return blocks.length > 0 ? blocks.join('\n') : (text ?? '');
}
