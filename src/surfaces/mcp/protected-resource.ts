import { AccessTokens } from './access-tokens.ts';
import { resourceMetadata, type ResourceMetadata, type TokenTerms } from './token-terms.ts';

/** What `POST /mcp` is to OAuth: nothing where the operator has named no issuer. */
export class ProtectedResource {
  readonly tokens: AccessTokens | undefined;
  readonly metadata: ResourceMetadata | undefined;

  constructor(terms: TokenTerms | undefined) {
    this.tokens = terms && new AccessTokens(terms);
    this.metadata = terms && resourceMetadata(terms);
  }
}
