/** A browser for tests of what an operator sees in the Web UI. */
import { findOnPath, isExecutable } from './command.js';
import { installPackage } from './package-manager.js';
import { firstWay, noWay, type Provision } from './provision.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
/** Applications of macOS are on no PATH. */
const APPLICATIONS = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

const REMEDIES =
  'Install Chromium so that `chromium` is on the PATH, or Google Chrome so that `google-chrome` is (on macOS, either one as an application).';

/**
 * @returns the path of a browser that Playwright takes as `executablePath`
 * @throws StackError
 */
export function provideChromium(provision: Provision): Promise<string> {
  const installed = async () =>
    NAMES.map((name) => findOnPath(name, provision.environment)).find((path) => path !== undefined) ??
    APPLICATIONS.find(isExecutable) ??
    noWay('no Chromium and no Chrome there');
  return firstWay(provision, 'Chromium', REMEDIES, [
    { name: 'PATH', looks: true, attempt: installed },
    {
      name: 'package manager',
      attempt: async () => {
        await installPackage(provision, 'chromium');
        return installed();
      },
    },
  ]);
}
