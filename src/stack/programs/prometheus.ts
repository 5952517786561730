/** Prometheus and its promtool, for tests of the rules and alerts in monitoring/. */
import { findOnPath } from './command.js';
import { installPackage } from './package-manager.js';
import { firstWay, noWay, type Provision } from './provision.js';

const REMEDIES = 'Install Prometheus so that `prometheus` and `promtool` are on the PATH.';

interface PrometheusPrograms {
  readonly server: string;
  readonly promtool: string;
}

/**
 * @returns paths of the programs
 * @throws StackError
 */
export function providePrometheus(provision: Provision): Promise<PrometheusPrograms> {
  const installed = async () => {
    const find = (name: string) => findOnPath(name, provision.environment) ?? noWay(`no ${name} there`);
    return { server: find('prometheus'), promtool: find('promtool') };
  };
  return firstWay(provision, 'Prometheus', REMEDIES, [
    { name: 'PATH', looks: true, attempt: installed },
    {
      name: 'package manager',
      attempt: async () => {
        await installPackage(provision, 'prometheus');
        return installed();
      },
    },
  ]);
}
