import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ECC = (errors: number) => `<ecc_errors>
  <volatile>
    <sram_correctable>3</sram_correctable>
    <sram_uncorrectable_parity>0</sram_uncorrectable_parity>
    <sram_uncorrectable_secded>0</sram_uncorrectable_secded>
    <dram_correctable>0</dram_correctable>
    <dram_uncorrectable>${errors}</dram_uncorrectable>
  </volatile>
  <aggregate>
    <dram_uncorrectable>77</dram_uncorrectable>
  </aggregate>
</ecc_errors>`;
const memory = (total: number, free: number) => `<fb_memory_usage>
  <total>${total} MiB</total>
  <reserved>460 MiB</reserved>
  <used>${total - free} MiB</used>
  <free>${free} MiB</free>
</fb_memory_usage>
<bar1_memory_usage>
  <total>32768 MiB</total>
  <free>29036 MiB</free>
</bar1_memory_usage>`;
const slice = (index: number) => `<mig_device>
  <index>${index}</index>
  <gpu_instance_id>${index + 3}</gpu_instance_id>
  <ecc_error_count>
    <volatile_count>
      <sram_uncorrectable>0</sram_uncorrectable>
    </volatile_count>
  </ecc_error_count>
  ${memory(19_968, 19_955)}
</mig_device>`;

/** What drivers of our days print of a whole GPU and of one in two slices, but for what nobody here reads. */
export const SMI_XML = `<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v13.dtd">
<nvidia_smi_log>
<driver_version>595.84</driver_version>
<attached_gpus>2</attached_gpus>
<gpu id="00000000:06:00.0">
  <product_name>NVIDIA RTX 4000 SFF Ada Generation</product_name>
  <mig_mode>
    <current_mig>N/A</current_mig>
  </mig_mode>
  <mig_devices>
    None
  </mig_devices>
  <uuid>GPU-37037c3f-65c8-ec4d-24a9-420204ad8026</uuid>
  ${memory(20_475, 16_482)}
  <utilization>
    <gpu_util>41 %</gpu_util>
    <memory_util>37 %</memory_util>
  </utilization>
  ${ECC(2)}
  <temperature>
    <gpu_temp>38 C</gpu_temp>
    <gpu_temp_tlimit>49 C</gpu_temp_tlimit>
  </temperature>
</gpu>
<gpu id="00000000:07:00.0">
  <product_name>NVIDIA A100-SXM4-80GB</product_name>
  <mig_mode>
    <current_mig>Enabled</current_mig>
  </mig_mode>
  <mig_devices>
    ${slice(0)}
    ${slice(1)}
  </mig_devices>
  <uuid>GPU-513536b6-7d19-9063-b049-1e69664bb298</uuid>
  ${memory(81_920, 80_999)}
  <utilization>
    <gpu_util>N/A</gpu_util>
  </utilization>
  <temperature>
    <gpu_temp>27 C</gpu_temp>
  </temperature>
</gpu>
</nvidia_smi_log>
`;
export const SMI_LIST = `GPU 0: NVIDIA RTX 4000 SFF Ada Generation (UUID: GPU-37037c3f-65c8-ec4d-24a9-420204ad8026)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-513536b6-7d19-9063-b049-1e69664bb298)
  MIG 2g.20gb     Device  0: (UUID: MIG-a686709d-6dc2-542a-8851-0d2508448c10)
  MIG 2g.20gb     Device  1: (UUID: MIG-53864714-0a66-5df2-9007-9268e30d9a72)
`;

/** A folder with a program `nvidia-smi` that prints these texts, or does what the script says. */
export function playNvidiaSmi(
  folder: string,
  script = 'case "$1" in -L) cat "$0.list";; *) cat "$0.xml";; esac',
): string {
  mkdirSync(folder, { recursive: true });
  const program = join(folder, 'nvidia-smi');
  writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  writeFileSync(`${program}.xml`, SMI_XML);
  writeFileSync(`${program}.list`, SMI_LIST);
  return folder;
}
