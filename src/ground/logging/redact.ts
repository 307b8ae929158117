/** The text without API key secrets and without passwords in addresses. */
export function redact(text: string): string {
  return text
    .replace(/(csk_[a-z0-9]+)_[A-Za-z0-9_-]+/g, '$1_[secret]')
    .replace(/(rediss?:\/\/[^:@/\s]*:)[^@\s]+@/g, '$1[secret]@');
}
