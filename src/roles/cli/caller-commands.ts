import { DataFolder } from './data-folder.ts';
import { newProgram, runProgram } from './program.ts';
import { addVerifyCommand } from './verify-command.ts';

/**
 * The program with `verify` alone. `scripts/bundle-verify.mjs` makes one file of it that needs Node.js and
 * nothing else, so that an auditor installs neither the service nor its machine code.
 */
const program = newProgram();
let data: DataFolder | undefined;
const cli = {
  program,
  get data() {
    return (data ??= new DataFolder(String(program.opts()['data']), process.env));
  },
};
addVerifyCommand(cli);
await runProgram(cli);
