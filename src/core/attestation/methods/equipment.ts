import type { Engine } from '../../engines/engine.ts';
import type { Hardware } from '../../../proof/receipts/promises/tee.ts';
import type { CalibrationFile } from '../calibrations.ts';

/** A model of a pool. */
export interface PooledModel extends ModelName {
  readonly pool: string;
}

/** A model by its name and the digest of its weights. */
export interface ModelName {
  readonly name: string;
  readonly sha256: string;
}

/** What was found of workers' machines. */
interface Machines {
  /** What was found of the machine of a worker that runs this model; undefined where nothing holds now. */
  of(worker: string, model: ModelName): Hardware | undefined;
  /** Whether some worker's machine is believed to run this model. */
  serves(model: ModelName): boolean;
}

interface EnginesByName {
  get(model: string): Engine | undefined;
}

interface EquipmentParts {
  /** Engines of the models that this attestor can compute again, by name. */
  readonly engines: EnginesByName;
  /** What honest machines do with a model, by its digest. */
  readonly calibrations: ReadonlyMap<string, CalibrationFile>;
  /** Undefined where this attestor judges no machines. */
  readonly hardware: Machines | undefined;
  /** The share of jobs that is computed again beyond what their tickets promise. */
  readonly auditShare: number;
}

/** What an attestor has to check answers with. */
export class Equipment {
  readonly engines: EnginesByName;
  readonly hardware: Machines | undefined;
  readonly auditShare: number;
  readonly #calibrations: ReadonlyMap<string, CalibrationFile>;

  constructor({ engines, calibrations, hardware, auditShare }: EquipmentParts) {
    this.engines = engines;
    this.hardware = hardware;
    this.auditShare = auditShare;
    this.#calibrations = calibrations;
  }

  /** The attestor's own engine for just this model, if it has one. */
  engineOf({ name, sha256 }: ModelName): Engine | undefined {
    const engine = this.engines.get(name);
    return engine?.model.sha256 === sha256 ? engine : undefined;
  }

  calibrationOf({ sha256 }: ModelName): CalibrationFile | undefined {
    return this.#calibrations.get(sha256);
  }
}
