/** Pages of which a part is made from the code, and what a page has in its code blocks. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../', import.meta.url);

export function pathOf(page: string): string {
  return fileURLToPath(new URL(page, ROOT));
}

export function read(page: string): string {
  return readFileSync(pathOf(page), 'utf8');
}

/** Every Markdown file of the repository. */
export function pages(): string[] {
  const rooms = ['docs', 'bench', 'test', 'examples', 'src', 'schemas'].flatMap((room) =>
    readdirSync(pathOf(room), { recursive: true, encoding: 'utf8' }).map((name) => `${room}/${name}`),
  );
  return [...readdirSync(pathOf('.')), ...rooms].filter((name) => name.endsWith('.md'));
}

/** The code blocks of a language. */
export function blocks(page: string, language: string): string[] {
  return [...read(page).matchAll(new RegExp(`^ *\`\`\`${language}\\n(.*?)^ *\`\`\``, 'gms'))].map(([, text]) => text!);
}

/** The page as it has to be: between its two marks is what the code says now. */
export function withGenerated(page: string, generated: string): string {
  const [begin, end] = ['<!-- generated: npm run docs -->', '<!-- end of what is generated -->'];
  const text = read(page);
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} lacks the marks of what is generated: ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${generated.trim()}\n\n${text.slice(to)}`;
}

/** A row of a table. What a cell contains can't end it. */
export function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(...head), row(...head.map(() => '---')), ...rows.map((cells) => row(...cells))].join('\n');
}
