/** Every setting of keymend.yaml, from the schema that reads it. */
import ms from 'ms';
import { z } from 'zod';
import { mysqlSource } from '../../src/config/mysql.js';
import { schema } from '../../src/config/schema.js';
import { table } from './generated.js';

interface Node {
  readonly type?: string;
  readonly kind?: 'time' | 'size';
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly anyOf?: readonly Node[];
  readonly items?: Node;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
}

function described(type: z.ZodType): Node {
  return z.toJSONSchema(type, {
    io: 'input',
    unrepresentable: 'any',
    // Those of settings that are parsed further are left out of a JSON Schema.
    override: ({ zodSchema: { _zod }, jsonSchema }) => {
      if (_zod.def.type === 'default')
        jsonSchema.default = (_zod.def as { defaultValue?: unknown }).defaultValue as never;
    },
  }) as Node;
}

/** The objects that a setting may be, whether it is one, a list of them, or one of several. */
function objectsOf(node: Node): readonly Node[] {
  const shape = node.items ?? node;
  return [shape, ...(shape.anyOf ?? [])].filter(({ properties }) => properties !== undefined);
}

function typeOf(node: Node): string {
  if (node.kind !== undefined) return node.kind;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(', ');
  if (node.type === 'array') return `list of ${node.items!.type === 'object' ? 'objects' : 'texts'}`;
  if (node.type === 'integer' || node.type === 'number') return numberOf(node);
  if (node.anyOf !== undefined) return node.anyOf.some(({ type }) => type === 'number') ? 'integer' : 'text or object';
  return { boolean: '`true`, `false`', string: 'text' }[node.type ?? ''] ?? 'object';
}

function numberOf({ type, minimum, exclusiveMinimum, maximum = Number.MAX_SAFE_INTEGER }: Node): string {
  const least = minimum ?? (exclusiveMinimum ?? 0) + 1;
  const name = type === 'integer' ? 'integer' : 'number';
  return maximum === Number.MAX_SAFE_INTEGER ? `${name}, at least ${least}` : `${name}, ${least} to ${maximum}`;
}

function defaultOf(node: Node, isRequired: boolean): string {
  if (node.default === undefined) return isRequired ? 'needed' : 'none';
  if (node.kind === 'time' && typeof node.default === 'number') return `\`${ms(node.default)}\``;
  return `\`${typeof node.default === 'string' ? node.default || '""' : JSON.stringify(node.default)}\``;
}

interface Setting {
  readonly path: string;
  readonly node: Node;
  readonly isRequired: boolean;
}

/** Those of the objects, which are all at this place. What several of them have is there once. */
function settingsOf(place: string, objects: readonly Node[]): Setting[] {
  const settings = objects.flatMap(({ properties = {}, required = [] }) =>
    Object.entries(properties).map(([name, node]) => ({
      path: `${place === '' ? '' : `${place}.`}${name}${node.type === 'array' && node.items!.type === 'object' ? '[]' : ''}`,
      node,
      // Of several objects none is needed for itself.
      isRequired: objects.length === 1 && required.includes(name),
    })),
  );
  return [...new Map(settings.map((setting) => [setting.path, setting])).values()];
}

/** A section for an object, and behind it one for each object in it. */
function section(place: string, { description = '' }: Node, objects: readonly Node[]): string[] {
  const settings = settingsOf(place, objects);
  const plain = settings.filter(
    ({ node }) =>
      // One of several has a row beside the others, that it is seen to be one of them.
      objects.length > 1 || objectsOf(node).length === 0 || (node.default !== undefined && node.type === 'array'),
  );
  const rows = plain.map(({ path, node, isRequired }) => [
    `\`${path.split('.').at(-1)}\``,
    typeOf(node),
    defaultOf(node, isRequired),
    node.description ?? '',
  ]);
  const inside = settings.flatMap(({ path, node }) => {
    const objects = path === 'links[].source' ? [described(mysqlSource)] : objectsOf(node);
    return objects.length === 0 ? [] : section(path, node, objects);
  });
  const heading = place === '' ? '### At the top' : `### \`${place}\``;
  const own =
    rows.length === 0 ? [] : [heading, description, table(['setting', 'type', 'default', 'what it says'], rows)];
  return [...own.filter((part) => part !== ''), ...inside];
}

/** Every path that a setting can have, for whoever checks that each is described. */
export function undescribed(place = '', objects: readonly Node[] = [described(schema)]): string[] {
  return settingsOf(place, objects).flatMap(({ path, node }) => [
    ...(node.description === undefined ? [path] : []),
    ...undescribed(path, objectsOf(node)),
  ]);
}

export function configurationReference(): string {
  const whole = described(schema);
  return section('', whole, [whole]).join('\n\n');
}
