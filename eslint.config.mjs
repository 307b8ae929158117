import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      'dist',
      'node_modules',
      'examples',
      '.cache',
      '.countersign',
      'scripts',
      '*.mjs',
      'src/roles/api/*.mjs',
      '.dependency-cruiser.cjs',
      'bench/**/*.mjs',
      'test/fixtures/*.mjs',
      'test/model/*.mjs',
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        project: ['./tsconfig.json', './src/surfaces/checker/page/tsconfig.json', './web/tsconfig.json'],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      // Misfires on Nest's option classes.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Numbers in messages are what people read; toString() around each adds nothing.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Nest modules are empty classes by design.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      // A name that begins with _ is there for its effect, as `using` needs one.
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_', argsIgnorePattern: '^_' }],
      // Injected classes must stay value imports; see docs/decisions.
      '@typescript-eslint/consistent-type-imports': 'off',
    },
  },
  {
    files: ['src/**/*.ts', 'web/**/*.ts'],
    ignores: ['**/*.test.ts'],
    // A function fits a screen, so that it can be read without scrolling.
    rules: { 'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }] },
  },
  {
    files: ['web/**/*.tsx'],
    // Markup has a line for each part of what is seen, and is read from top to bottom.
    rules: { 'max-lines-per-function': ['error', { max: 120, skipBlankLines: true, skipComments: true }] },
  },
);
