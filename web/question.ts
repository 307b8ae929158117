/** The input of a task that asks one question. */
export function inputOf(task: string, question: string): object {
  switch (task) {
    case 'chat':
      return { messages: [{ role: 'user', content: question }] };
    case 'embedding':
      return { texts: [question] };
    default:
      return { prompt: question };
  }
}
