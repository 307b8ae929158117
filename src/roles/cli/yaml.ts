/** What a YAML file of ours holds. */
export type Yaml = string | number | boolean | readonly Yaml[] | { readonly [name: string]: Yaml };

const PLAIN = /^[A-Za-z_./][A-Za-z0-9_./-]*$/;
/** Plain words that YAML 1.1 reads as something else than text. */
const RESERVED = /^(?:y|n|yes|no|true|false|on|off|null|~|\.inf|\.nan)$/i;

/** The value as YAML 1.2: one member or item a line, texts quoted where they must be. */
export function yamlOf(value: Yaml, indent = ''): string {
  if (Array.isArray(value))
    return value.length === 0
      ? ' []\n'
      : `\n${value.map((item: Yaml) => `${indent}-${itemOf(item, indent)}`).join('')}`;
  if (typeof value === 'object') {
    const members = Object.entries(value);
    if (members.length === 0) return ' {}\n';
    return `\n${members.map(([name, member]) => `${indent}${scalar(name)}:${yamlOf(member, `${indent}  `)}`).join('')}`;
  }
  return ` ${typeof value === 'string' ? scalar(value) : String(value)}\n`;
}

/** An item of a list: the first member of a mapping stands beside the dash. */
function itemOf(item: Yaml, indent: string): string {
  const text = yamlOf(item, `${indent}  `);
  return text.startsWith('\n') ? ` ${text.slice(indent.length + 3)}` : text;
}

function scalar(text: string): string {
  if (PLAIN.test(text) && !RESERVED.test(text)) return text;
  return text.includes("'") ? JSON.stringify(text) : `'${text}'`;
}
