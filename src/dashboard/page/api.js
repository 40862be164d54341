const api = new URL('../api/', import.meta.url);

/**
 * What people look for goes out in headers: URLs are written into logs.
 *
 * @throws Error with a sentence for people
 */
async function ask(method, path, { query = {}, named = {}, body } = {}) {
  const url = new URL(path, api);
  const headers = { 'x-idempotency-dashboard': '1' };
  for (const [name, value] of Object.entries(query)) {
    if (value) url.searchParams.set(name, value);
  }
  for (const [name, value] of Object.entries(named)) {
    if (value) headers[`x-idempotency-${name}`] = encodeURIComponent(value);
  }
  if (body) headers['content-type'] = 'application/json';
  const sent = { method, headers, ...(body && { body: JSON.stringify(body) }) };
  const response = await fetch(url, sent).catch(() => {
    throw new Error('The application does not answer.');
  });
  if (response.ok) return response.json();
  throw new Error(await problem(response));
}

async function problem(response) {
  if (response.status === 401 || response.status === 403) {
    return 'You may not do this, or not any more. Reload the page to sign in.';
  }
  if (response.status === 404) return 'It is no longer there.';
  const { detail } = await response.json().catch(() => ({}));
  return detail ?? `The application answered ${response.status}. Look into its log.`;
}

export const get = (path, options) => ask('GET', path, options);
export const post = (path, options) => ask('POST', path, options);
