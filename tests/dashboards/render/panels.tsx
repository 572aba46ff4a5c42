// The panels. Charts, numbers and tables are Grafana's own components; those for heat maps and state timelines are not
// published, so these two are stand-ins that show the same data.
import React from 'react';
import { FieldType, PanelPlugin, VizOrientation, cacheFieldDisplayNames, createTheme, getDisplayProcessor, getFieldDisplayValues, getValueFormat } from '@grafana/data';
import { BigValue, BigValueColorMode, BigValueGraphMode, BigValueTextMode, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

export const theme = createTheme({ colors: { mode: 'dark' } });
const Nothing = () => <div className="nothing">No data</div>;
const shown = (Panel: React.FC<any>) => (props: any) => (props.data.series.some((frame: any) => frame.length) ? <Panel {...props} /> : <Nothing />);

const Chart = ({ data, options, timeRange, timeZone, width, height }: any) => (
  <TimeSeries frames={data.series} structureRev={data.structureRev} timeRange={timeRange} timeZone={timeZone} width={width} height={height} legend={options.legend} options={options} />
);

const Stat = ({ data, options, fieldConfig, replaceVariables, timeZone, width, height, renderCounter }: any) => {
  const values = () => getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme, data: data.series, timeZone, sparkline: options.graphMode === 'area' });
  return (
    <VizRepeater source={data} getValues={values} width={width} height={height} orientation={VizOrientation.Auto} renderCounter={renderCounter}
      renderValue={({ value, width, height }: any) => (
        <BigValue value={value.display} sparkline={value.sparkline} width={width} height={height} theme={theme} colorMode={BigValueColorMode.Value}
          graphMode={options.graphMode === 'area' ? BigValueGraphMode.Area : BigValueGraphMode.None}
          textMode={options.textMode === 'name' ? BigValueTextMode.Name : BigValueTextMode.Value} />
      )} />
  );
};

const Table = ({ data, width, height }: any) => {
  cacheFieldDisplayNames(data.series);
  return <TableNG data={data.series[0]} width={width} height={height} />;
};

function axis(timeRange: any, left: number, width: number) {
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  return (time: number) => left + ((time - from) / (to - from)) * (width - left);
}

function Times({ timeRange, at, y }: any) {
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const times = [1, 3, 5, 7].map((part) => from + ((to - from) * part) / 8);
  return times.map((time) => <text key={time} x={at(time)} y={y} textAnchor="middle">{new Date(time).toISOString().slice(11, 16)}</text>);
}

const Timeline = ({ data, timeRange, width, height }: any) => {
  const left = 150;
  const at = axis(timeRange, left, width);
  const lanes = data.series.filter((frame: any) => frame.length);
  const lane = (height - 44) / lanes.length;
  const seen = new Map<string, string>();
  const bars = lanes.map((frame: any, row: number) => {
    const times = frame.fields.find((field: any) => field.type === FieldType.time).values;
    const field = frame.fields.find((field: any) => field.type === FieldType.number);
    const display = field.display ?? getDisplayProcessor({ field, theme });
    const step = times.length > 1 ? times[1] - times[0] : 1000;
    return (
      <g key={row}>
        <text x={left - 8} y={row * lane + lane / 2 + 4} textAnchor="end">{frame.name}</text>
        {times.map((time: number, place: number) => {
          const value = display(field.values[place]);
          seen.set(value.text, value.color!);
          return <rect key={time} x={at(time)} y={row * lane + lane * 0.1} width={at(time + step) - at(time) + 0.6} height={lane * 0.8} fill={value.color} opacity={0.75} />;
        })}
      </g>
    );
  });
  return (
    <svg width={width} height={height} className="stand-in">
      {bars}
      <Times timeRange={timeRange} at={at} y={height - 28} />
      {[...seen].map(([text, colour], place) => (
        <g key={text}><rect x={10 + place * 130} y={height - 14} width={14} height={4} fill={colour} /><text x={30 + place * 130} y={height - 8}>{text}</text></g>
      ))}
    </svg>
  );
};

const HeatMap = ({ data, timeRange, width, height }: any) => {
  const left = 60;
  const at = axis(timeRange, left, width);
  const bound = (frame: any) => Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity'));
  const buckets = [...data.series].sort((one, other) => bound(one) - bound(other));
  const counts = buckets.map((frame, row) => {
    const before = new Map(row ? buckets[row - 1].fields[0].values.map((time: number, place: number) => [time, buckets[row - 1].fields[1].values[place]]) : []);
    return frame.fields[0].values.map((time: number, place: number) => ({ time, count: frame.fields[1].values[place] - Number(before.get(time) ?? 0) }));
  });
  const most = Math.max(...counts.flat().map((cell) => cell.count));
  const tall = (height - 24) / buckets.length;
  const step = counts[0].length > 1 ? counts[0][1].time - counts[0][0].time : 1000;
  const seconds = getValueFormat('s');
  return (
    <svg width={width} height={height} className="stand-in">
      {counts.map((cells, row) => {
        const y = height - 24 - (row + 1) * tall;
        const { text, suffix } = seconds(bound(buckets[row]));
        return (
          <g key={row}>
            {row % 2 === 0 && bound(buckets[row]) < Infinity && <text x={left - 6} y={y + 4} textAnchor="end">{text}{suffix}</text>}
            {cells.filter((cell: any) => cell.count > 1e-9).map((cell: any) => (
              <rect key={cell.time} x={at(cell.time)} y={y} width={at(cell.time + step) - at(cell.time) - 0.5} height={tall - 0.5} fill={`hsl(30 90% ${20 + 55 * Math.sqrt(cell.count / most)}%)`} />
            ))}
          </g>
        );
      })}
      <Times timeRange={timeRange} at={at} y={height - 8} />
    </svg>
  );
};

const CUSTOM = ['align', 'cellOptions', 'drawStyle', 'fillOpacity', 'inspect', 'lineWidth', 'minWidth', 'showPoints', 'spanNulls', 'stacking', 'thresholdsStyle', 'width'];
const option = (id: string) => ({ id, path: id, name: id, editor: () => null, override: () => null, process: (value: any) => value, shouldApply: () => true, settings: {} });
export const standard = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'].map(option);
export const plugins: Record<string, PanelPlugin> = {};
for (const [id, Panel] of Object.entries({ timeseries: Chart, stat: Stat, table: Table, heatmap: HeatMap, 'state-timeline': Timeline })) {
  plugins[id] = new PanelPlugin(shown(Panel) as any).useFieldConfig({ useCustomConfig: (builder: any) => CUSTOM.forEach((key) => builder.addCustomEditor(option(key))) });
  plugins[id].meta = { id, name: id, info: { logos: {} } } as any;
}
