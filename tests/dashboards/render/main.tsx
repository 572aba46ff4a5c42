// Draws a dashboard with Grafana's own libraries: its JSON in, the page out, and in window.drawing what each panel got.
//   /?dashboard=proxy-pool-dashboard.json&from=now-10m&proxy=free-salmon&scrape=2
import './boot';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { catchError, from, map, of } from 'rxjs';
import { EventBusSrv, LoadingState, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry } from '@grafana/data';
import * as i18n from '@grafana/i18n';
import * as runtime from '@grafana/runtime';
import { DataSourceVariable, EmbeddedScene, QueryVariable, SceneDataTransformer, SceneGridItem, SceneGridLayout, SceneGridRow, SceneQueryRunner, SceneTimePicker, SceneTimeRange, SceneVariableSet, VariableValueSelectors, VizPanel, sceneGraph } from '@grafana/scenes';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { Prometheus, settings } from './prometheus';
import { plugins, standard } from './panels';

const page = window as any;
const asked = new URLSearchParams(location.search);
page.scrape = Number(asked.get('scrape') ?? 1);
const source = new Prometheus();
const api: any = runtime;
api.setDataSourceSrv({ get: async () => source, getInstanceSettings: () => settings, getList: () => [settings], reload() {}, registerRuntimeDataSource() {} });
api.setTemplateSrv({ replace: (text?: string) => text ?? '', getVariables: () => [], containsTemplate: () => false, updateTimeRange() {}, getAdhocFilters: () => [] });
api.setBackendSrv({ fetch: () => { throw new Error('there is no server'); } });
api.setEchoSrv({ addEvent() {}, addBackend() {}, flush() {} });
api.setAppEvents(new EventBusSrv());
api.setRunRequest((datasource: any, request: any) =>
  from(datasource.query(request)).pipe(
    map((answer: any) => ({ state: LoadingState.Done, series: answer.data, timeRange: request.range, request })),
    catchError((error: any) => of({ state: LoadingState.Error, series: [], timeRange: request.range, request, errors: [{ message: String(error) }] })),
  ));
for (const name of Object.keys(api).filter((name) => /^setPlugin(Links|Components?|Functions)Hook$/.test(name)))
  api[name](() => ({ links: [], components: [], functions: [], isLoading: false, extensions: [] }));
api.setPluginImportUtils({ importPanelPlugin: async (id: string) => plugins[id], getPanelPluginFromCache: (id: string) => plugins[id] });
standardEditorsRegistry.setInit(() => []);
standardFieldConfigEditorRegistry.setInit(() => standard as any);
const transformers = new Map(Object.values(standardTransformers).map((one: any) => [one.id, one]));
standardTransformersRegistry.setInit(() => [...transformers.values()].map((one) => ({ id: one.id, name: one.name, transformation: one, editor: () => null })) as any);

function variable(one: any) {
  if (one.type === 'datasource') return new DataSourceVariable({ name: one.name, label: one.label, pluginId: one.query, value: settings.uid, text: settings.name });
  const chosen = asked.get(one.name);
  const value = chosen ? { value: chosen, text: chosen } : one.current ?? {};
  return new QueryVariable({ name: one.name, label: one.label, datasource: one.datasource, query: one.query, isMulti: one.multi, includeAll: one.includeAll, allValue: one.allValue, refresh: one.refresh, sort: one.sort, ...value });
}

function drawn(panel: any) {
  const { x, y, w: width, h: height } = panel.gridPos;
  if (panel.type === 'row') return new SceneGridRow({ key: `row-${panel.id}`, title: panel.title, y, children: [] });
  const queries = new SceneQueryRunner({ datasource: panel.datasource, queries: panel.targets, maxDataPoints: 150, minInterval: `${page.scrape}s` });
  const body = new VizPanel({ key: `panel-${panel.id}`, title: panel.title, description: panel.description, pluginId: panel.type, options: panel.options, fieldConfig: panel.fieldConfig, $data: new SceneDataTransformer({ $data: queries, transformations: panel.transformations }) });
  page.drawing.panels[panel.title] = { state: 'waiting', series: 0 };
  body.addActivationHandler(() => {
    const told = sceneGraph.getData(body).subscribeToState(({ data }: any) => {
      if (data) page.drawing.panels[panel.title] = { state: data.state, series: data.series.filter((frame: any) => frame.length).length, error: data.errors?.[0]?.message };
    });
    return () => told.unsubscribe();
  });
  return new SceneGridItem({ x, y, width, height, body });
}

async function main() {
  await (i18n as any).initPluginTranslations?.('grafana-scenes');
  const json = await (await fetch(`/${asked.get('dashboard')}`)).json();
  const scene = new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from: asked.get('from') ?? json.time.from, to: 'now', timeZone: 'utc' }),
    $variables: new SceneVariableSet({ variables: json.templating.list.map(variable) }),
    controls: [new VariableValueSelectors({}), new SceneTimePicker({})],
    body: new SceneGridLayout({ children: json.panels.map(drawn) }),
  });
  const rows = Math.max(...json.panels.map((panel: any) => panel.gridPos.y + panel.gridPos.h));
  page.drawing.height = rows * 38 + 90;
  createRoot(document.getElementById('root')!).render(
    <MemoryRouter><GlobalStyles hackNoBackdropBlur={true} isExtensionSidebarOpen={false} /><h2>{json.title}</h2><div style={{ height: rows * 38 + 60 }}><scene.Component model={scene} /></div><PortalContainer /></MemoryRouter>,
  );
  page.drawing.ready = true;
}
main().catch((error) => page.drawing.errors.push(String(error.stack ?? error)));
