import { printable } from '../printable.ts';

type Attributes = Readonly<Record<string, string>>;

/**
 * A new element with these children. Text stays text: nothing here reads markup, and what a service or a
 * worker wrote cannot move, hide or turn what stands beside it.
 */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes,
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children.map((child) => (typeof child === 'string' ? printable(child) : child)));
  return made;
}

/** One of the pictures of the page, by its id; it says nothing that words do not say too. */
export function icon(id: string): SVGSVGElement {
  const namespace = 'http://www.w3.org/2000/svg';
  const picture = document.createElementNS(namespace, 'svg');
  picture.setAttribute('viewBox', '0 0 16 16');
  picture.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(namespace, 'use');
  use.setAttribute('href', `#${id}`);
  picture.append(use);
  return picture;
}

/** The element of the page with this id. Throws where the page has none. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element ${id}.`);
  return found;
}
