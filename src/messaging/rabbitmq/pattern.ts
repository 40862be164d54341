/** Whether a routing key is meant by a pattern with `*` (one word) and `#` (any number), as in topic exchanges. */
export function matchesPattern(pattern: string, routingKey: string): boolean {
  return pattern === routingKey || matchWords(pattern.split('.'), routingKey.split('.'));
}

function matchWords([word, ...words]: string[], key: string[]): boolean {
  if (word === undefined) {
    return key.length === 0;
  }
  if (word === '#') {
    return matchWords(words, key) || (key.length > 0 && matchWords(['#', ...words], key.slice(1)));
  }
  return key.length > 0 && (word === '*' || word === key[0]) && matchWords(words, key.slice(1));
}
