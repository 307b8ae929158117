/** The text in an answer, as people read it: of a completion, of a chat, or the whole as JSON. */
export function answerText(output: unknown): string {
  if (typeof output === 'object' && output !== null) {
    if ('text' in output && typeof output.text === 'string') return output.text;
    if ('message' in output && typeof output.message === 'object' && output.message !== null) {
      const { message } = output;
      if ('content' in message && typeof message.content === 'string') return message.content;
    }
  }
  return JSON.stringify(output, null, 2);
}
