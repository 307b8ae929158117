import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { ApiClient } from './api-client.ts';
import { apiUrl } from './arguments.ts';
import { DataFolder } from './data-folder.ts';
import { jsonOption } from './output.ts';

const DEFAULT_URL = 'http://127.0.0.1:8181';

const HOW_TO_GET_A_KEY =
  'name the file of an API key with --key-file; `countersign up` makes one here, and whoever runs a service makes them with: countersign keys api create';

/** Options of every command that talks to the API. */
export interface RemoteOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly json?: boolean;
}

/**
 * What the commands of callers share: the program, the data folder and the API's client. They need none of
 * the packages of the service, so that whoever only calls or verifies installs none of them.
 */
export class CallerContext {
  readonly program: Command;
  #data: DataFolder | undefined;

  constructor(program: Command) {
    this.program = program;
  }

  /**
   * The installation as the environment and the folder of `--data` describe it; known once the command line
   * is parsed, so only inside actions.
   */
  get data(): DataFolder {
    this.#data ??= new DataFolder(this.folder, process.env);
    return this.#data;
  }

  /** The folder of `--data`. */
  protected get folder(): string {
    return String(this.program.opts()['data']);
  }

  /** A new command that talks to the API, under `parent` or under the program itself. */
  remote(name: string, description: string, parent: Command = this.program): Command {
    return parent
      .command(name)
      .description(description)
      .option('--url <url>', 'address of the API')
      .option('--key-file <file>', 'file with the API key')
      .addOption(jsonOption());
  }

  /**
   * The address of the API, named by the options, then by COUNTERSIGN_URL, then by the data folder that `up`
   * runs from. Throws CodedError `request_invalid` for what is none.
   */
  url(options: Pick<RemoteOptions, 'url'>): string {
    const { data } = this;
    return apiUrl(
      options.url ??
        process.env['COUNTERSIGN_URL'] ??
        (existsSync(data.address()) ? readFileSync(data.address(), 'utf8').trim() : DEFAULT_URL),
    );
  }

  /**
   * A client of the API named by the options, then by COUNTERSIGN_URL, then by the data folder that `up` runs
   * from. Throws CodedError `key_file_unfit` if there is no usable API key.
   */
  client(options: RemoteOptions): ApiClient {
    const url = this.url(options);
    const key = readSecretFile(options.keyFile ?? this.data.devKey(), HOW_TO_GET_A_KEY)
      .reveal()
      .trim();
    return new ApiClient(url, key);
  }
}
