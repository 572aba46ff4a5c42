// What Grafana's libraries expect of the page before they load.
const page = window as any;
page.grafanaBootData = {
  settings: { featureToggles: {}, buildInfo: { version: '12.4.10', env: 'production' }, theme2: undefined, panels: {}, datasources: {}, appSubUrl: '', appUrl: '' },
  user: { locale: 'en-US', timezone: 'utc', lightTheme: false, permissions: {}, orgRole: 'Viewer' },
  navTree: [],
};
page.process = page.process ?? { env: {} };
page.drawing = { panels: {}, errors: [], ready: false };
export {};
