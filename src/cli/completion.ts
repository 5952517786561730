/**
 * Scripts with which shells complete the command line, made of the parser's own table: the shell
 * asks no process, so that a word is there at once.
 */
import type { Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What can follow on a verb, or on the program itself. */
interface Place {
  /** `stack up`; empty: the program. */
  readonly path: string;
  readonly words: readonly { readonly word: string; readonly description: string }[];
  readonly options: readonly Flag[];
}

interface Flag {
  /** `-o`, `--output` */
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  readonly isFile: boolean;
}

/** @param program with all its verbs */
export function completionScript(shell: Shell, program: Command): string {
  const places = placesOf(program, []);
  return { bash, zsh, fish }[shell](program.name(), places);
}

function placesOf(command: Command, path: readonly string[]): Place[] {
  const help = command.createHelp();
  help.showGlobalOptions = true;
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)]
    // Of the program alone.
    .filter(({ long }) => long !== '--version' || path.length === 0)
    .map(flagOf);
  const below = help.visibleCommands(command).filter((child) => child.name() !== 'help');
  const ofVerbs = below.map((child) => ({ word: child.name(), description: firstSentence(child.description()) }));
  const ofArguments = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const words = [...ofVerbs, ...ofArguments.map((word) => ({ word, description: '' }))];
  const place = { path: path.join(' '), words, options };
  return [place, ...below.flatMap((child) => placesOf(child, [...path, child.name()]))];
}

function flagOf({ short, long, description, required, optional, argChoices, flags }: Option): Flag {
  return {
    names: [short, long].filter((name) => name != null),
    description: firstSentence(description),
    takesValue: required || optional,
    choices: argChoices ?? [],
    isFile: /<(file|dir|report)>/.test(flags),
  };
}

function firstSentence(text: string): string {
  return text.split(/[.:;](?= |$)/)[0]!;
}

/** Text between single quotes, as all three shells take it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", '’').replaceAll('\\', '')}'`;
}

/** Every option of any verb that takes a value: what follows it is no verb. */
function valued(places: readonly Place[]): string[] {
  const names = places.flatMap(({ options }) =>
    options.filter(({ takesValue }) => takesValue).flatMap(({ names }) => names),
  );
  return [...new Set(names)];
}

/** Lines of a `case` that follow the verbs already written. */
function steps(places: readonly Place[]): string[] {
  return places
    .filter(({ path }) => path !== '')
    .map(({ path }) => `      ${quote(` ${path}`)}) verb="$verb $word" ;;`);
}

function values(places: readonly Place[], offer: (choices: readonly string[]) => string, files: string): string[] {
  return places.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(({ names, choices, isFile }) => {
        const patterns = names.map((name) => quote(`${path === '' ? '' : ` ${path}`}|${name}`)).join('|');
        const what = choices.length > 0 ? offer(choices) : isFile ? files : ':';
        return `    ${patterns}) ${what}; return ;;`;
      }),
  );
}

/** What bash and zsh have in common: which verb is written so far, and what may follow. */
function steered(places: readonly Place[], followed: readonly string[], ofPlace: (place: Place) => string): string {
  return `    case "$word" in
      ${valued(places).join('|')}) ((at++)); continue ;;
    esac
    case "$verb $word" in
${steps(places).join('\n')}
    esac
  done
  case "$verb|$before" in
${followed.join('\n')}
  esac
  case "$verb" in
${places.map(ofPlace).join('\n')}
  esac`;
}

function bash(name: string, places: readonly Place[]): string {
  const ofPlace = ({ path, words, options }: Place) => {
    const all = [...words.map(({ word }) => word), ...options.flatMap(({ names }) => names)].join(' ');
    return `    ${quote(path === '' ? '' : ` ${path}`)}) words=${quote(all)} ;;`;
  };
  const offer = (choices: readonly string[]) => `COMPREPLY=($(compgen -W ${quote(choices.join(' '))} -- "$current"))`;
  return `# ${name}: completion for bash
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" verb='' word words='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    word="\${COMP_WORDS[at]}"
${steered(places, values(places, offer, 'COMPREPLY=($(compgen -f -- "$current"))'), ofPlace)}
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _${name} ${name}
`;
}

function zsh(name: string, places: readonly Place[]): string {
  const described = (word: string, description: string) =>
    quote(`${word}${description === '' ? '' : `:${description}`}`);
  const ofPlace = ({ path, words, options }: Place) => {
    const all = [
      ...words.map(({ word, description }) => described(word, description)),
      ...options.flatMap(({ names, description }) => names.map((flag) => described(flag, description))),
    ];
    return `    ${quote(path === '' ? '' : ` ${path}`)}) offered=(${all.join(' ')}) ;;`;
  };
  const offer = (choices: readonly string[]) => `compadd -- ${choices.join(' ')}`;
  return `#compdef ${name}
_${name}() {
  local verb='' word before="\${words[CURRENT-1]}" at
  local -a offered
  for ((at = 2; at < CURRENT; at++)); do
    word="\${words[at]}"
${steered(places, values(places, offer, '_files'), ofPlace)}
  _describe ${quote(name)} offered
}
if [ "\${funcstack[1]}" = '_${name}' ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

function fish(name: string, places: readonly Place[]): string {
  const at = (path: string) => `-n ${quote(`test (__${name}_verb) = "${path}"`)}`;
  const ofPlace = ({ path, words, options }: Place) => [
    ...words.map(
      ({ word, description }) => `complete -c ${name} ${at(path)} -a ${quote(word)} -d ${quote(description)}`,
    ),
    ...options.map(({ names, description, takesValue, choices, isFile }) => {
      const flags = names
        .map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
        .join(' ');
      const value =
        choices.length > 0 ? ` -x -a ${quote(choices.join(' '))}` : isFile ? ' -r -F' : takesValue ? ' -x' : '';
      return `complete -c ${name} ${at(path)} ${flags}${value} -d ${quote(description)}`;
    }),
  ];
  const verbs = places.filter(({ path }) => path !== '').map(({ path }) => quote(path));
  return `# ${name}: completion for fish
function __${name}_verb
  set -l verb ''
  set -l skip 0
  for word in (commandline -opc)[2..]
    if test $skip = 1
      set skip 0
    else if contains -- $word ${valued(places).join(' ')}
      set skip 1
    else if contains -- (string trim "$verb $word") ${verbs.join(' ')}
      set verb (string trim "$verb $word")
    end
  end
  echo "$verb"
end
complete -c ${name} -f
${places.flatMap(ofPlace).join('\n')}
`;
}
