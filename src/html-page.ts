/** Pages that need nothing else: no script, no file beside them, nothing from the network. */

/** @param title and @param body are HTML already */
export function htmlPage({ title, heading, body }: { title: string; heading: string; body: string }): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
td{padding:.15em 1em .15em 0;vertical-align:top;overflow-wrap:anywhere}code{white-space:pre-wrap}</style>
<h1>${heading}</h1>
${body}
</html>
`;
}

/** A row of a table, of cells that are HTML already. */
export function tableRow(cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

/** A table with its heading; nothing where there are no rows. */
export function tableSection(title: string, rows: readonly string[]): string {
  return rows.length === 0 ? '' : `<h2>${title}</h2>\n<table>${rows.join('\n')}</table>`;
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
