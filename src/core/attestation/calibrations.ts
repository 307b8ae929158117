import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Calibration } from './calibration.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';

export interface CalibrationFile {
  readonly calibration: Calibration;
  /** Of the file's bytes. Verdicts name the thresholds that they applied by it. */
  readonly sha256: string;
  readonly bytes: Buffer;
}

/** The calibrations that come with the demonstration model. */
const OWN = fileURLToPath(new URL('../../../models', import.meta.url));

/**
 * The calibrations of a folder (`*.calibration.json`), by the digest of their model. Throws CodedError
 * `config_invalid`.
 */
export function readCalibrations(folder = OWN): Map<string, CalibrationFile> {
  let path = folder;
  try {
    const files = readdirSync(folder).filter((name) => name.endsWith('.calibration.json'));
    return new Map(
      files.map((name) => {
        path = join(folder, name);
        const bytes = readFileSync(path);
        const calibration = Calibration.parse(JSON.parse(bytes.toString('utf8')));
        return [calibration.model.sha256, { calibration, sha256: sha256Hex(bytes), bytes }];
      }),
    );
  } catch (cause) {
    throw new CodedError('config_invalid', `${path} is no calibration: ${messageOf(cause)}.`, {
      cause,
      hint: 'make one with: countersign calibrate',
    });
  }
}
