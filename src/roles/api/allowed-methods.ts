import { OPERATIONS } from './operations.ts';

/** Each route as an expression, with its method. */
const ROUTES = OPERATIONS.map(({ path, method }) => ({
  path: new RegExp(
    `^${path
      .replace(/[.]/g, '\\$&')
      .replace(/\{path\}/g, '.+')
      .replace(/\{\w+\}/g, '[^/]+')}/?$`,
  ),
  method: method.toUpperCase(),
}));

/** The methods that this address has, as the header Allow lists them; undefined where no route has it. */
export function allowedMethods(url: string): string | undefined {
  const [path = ''] = url.split('?', 1);
  const methods = ROUTES.flatMap((route) => (route.path.test(path) ? [route.method] : []));
  if (methods.length === 0) return undefined;
  return [...new Set(methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))].join(', ');
}
