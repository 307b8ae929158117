import { readCatalog } from '../../core/catalog/catalog.ts';
import type { CliContext } from './cli-context.ts';
import { tellToReread } from './installation-lock.ts';
import { Output, jsonOption } from './output.ts';

/** `countersign reload`: what runs from the data folder goes by its catalog and prices as they are now. */
export function addReloadCommand(cli: CliContext): void {
  cli.program
    .command('reload')
    .description('have what `up` started here read the catalog and the prices again, without a restart')
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => {
      const catalog = cli.data.catalog();
      readCatalog(catalog);
      const process = tellToReread(cli.data);
      new Output(options.json === true).show({ process, catalog }, [
        `told process ${process}: api, courier and attestor go by the files, or say in their logs why not`,
      ]);
    });
}
