/**
 * Files that a role reads again while it runs, at SIGHUP. A role that has some provides them by this name;
 * what is read only at the start stays as it was then.
 */
export abstract class RereadableFiles {
  /**
   * Reads them, and goes by all of them from now on, or by none: throws the CodedError that says which is
   * unfit. Returns their names.
   */
  abstract reread(): readonly string[];
}
