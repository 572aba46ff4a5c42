// What dashboards/schema.json is generated from: Grafana's own published types of a dashboard and of the panels used.
// Options of a panel may be left out, whereupon the panel takes its defaults: hence Partial.
import type { Dashboard } from './node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as heatmap from './node_modules/@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as stat from './node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as timeline from './node_modules/@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as table from './node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as timeseries from './node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

export type Published = {
  dashboard: Dashboard;
  options: {
    heatmap: Partial<heatmap.Options>;
    stat: Partial<stat.Options>;
    'state-timeline': Partial<timeline.Options>;
    table: Partial<table.Options>;
    timeseries: Partial<timeseries.Options>;
  };
  // The options of a field that only its kind of panel knows: fieldConfig.defaults.custom.
  custom: {
    heatmap: Partial<heatmap.FieldConfig>;
    stat: Record<string, never>;
    'state-timeline': Partial<timeline.FieldConfig>;
    table: Partial<table.FieldConfig>;
    timeseries: Partial<timeseries.FieldConfig>;
  };
};
