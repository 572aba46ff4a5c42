// A data source for Prometheus: as much of Grafana's own as the dashboards use.
import { DataSourceApi, FieldType, toDataFrame } from '@grafana/data';
import { sceneGraph } from '@grafana/scenes';

const meta: any = { id: 'prometheus', name: 'Prometheus', type: 'datasource', info: { logos: { small: '', large: '' }, author: { name: '' }, links: [], screenshots: [] }, module: '', baseUrl: '' };
export const settings: any = { id: 1, uid: 'prometheus', name: 'Prometheus', type: 'prometheus', meta, jsonData: {}, isDefault: true, readOnly: true, access: 'proxy' };

export class Prometheus extends DataSourceApi<any> {
  constructor() {
    super(settings);
  }

  async query(request: any) {
    const answers = await Promise.all(request.targets.map((target: any) => this.ask(target, request)));
    return { data: answers.flat() };
  }

  private async ask(target: any, request: any) {
    const [from, to] = [request.range.from.unix(), request.range.to.unix()];
    const { scrape } = window as any;
    const step = Math.max(scrape, Math.ceil(request.intervalMs / 1000));
    const window_ = { text: `${4 * step}s`, value: `${4 * step}s` };
    const range = { text: `${to - from}s`, value: `${to - from}s` };
    const scoped = { ...request.scopedVars, __rate_interval: window_, __range: range };
    const scene = request.scopedVars.__sceneObject.value.valueOf();
    const expr = sceneGraph.interpolate(scene, target.expr, scoped, (value: any) => (Array.isArray(value) ? `(${value.join('|')})` : value));
    const query = new URLSearchParams(target.instant ? { query: expr, time: `${to}` } : { query: expr, start: `${from}`, end: `${to}`, step: `${step}` });
    const answer = await (await fetch(`/prometheus/api/v1/${target.instant ? 'query' : 'query_range'}?${query}`)).json();
    if (answer.status !== 'success') throw new Error(`${expr}: ${answer.error}`);
    const result = answer.data.result.map((one: any) => ({ labels: one.metric, values: one.values ?? [one.value] }));
    return target.format === 'table' ? [table(result, target.refId)] : result.map((one: any) => series(one, target, step));
  }

  async metricFindQuery(query: any) {
    const [, selector, label] = /label_values\((.+), (\w+)\)/.exec(query.query)!;
    const answer = await (await fetch(`/prometheus/api/v1/label/${label}/values?match[]=${selector}`)).json();
    return answer.data.map((text: string) => ({ text }));
  }

  async testDatasource(): Promise<any> {
    return { status: 'success', message: '' };
  }
}

function series({ labels, values }: any, target: any, step: number) {
  const name = target.legendFormat.replace(/\{\{(\w+)\}\}/g, (_: string, label: string) => labels[label] ?? '');
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      // The interval is what tells a chart where a value is missing.
      { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: values.map((pair: any) => pair[0] * 1000) },
      { name: 'Value', type: FieldType.number, labels, config: { displayNameFromDS: name }, values: values.map((pair: any) => Number(pair[1])) },
    ],
  });
}

function table(result: any[], refId: string) {
  const labels = [...new Set(result.flatMap((one) => Object.keys(one.labels)))];
  return toDataFrame({
    refId,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: result.map((one) => one.values[0][0] * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, config: {}, values: result.map((one) => one.labels[label]) })),
      { name: `Value #${refId}`, type: FieldType.number, config: {}, values: result.map((one) => Number(one.values[0][1])) },
    ],
  });
}
