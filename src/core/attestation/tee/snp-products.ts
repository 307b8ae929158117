export const SNP_PRODUCTS = ['milan', 'genoa', 'turin'] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

/** SHA-256 of AMD's root certificates (ARK), one for each product. */
export const AMD_ROOTS: Readonly<Record<SnpProduct, string>> = {
  milan: '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
  genoa: '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
  turin: '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
};
