{{- define "proxywatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimAll "-." }}
{{- end }}

{{/* The beginning of every name. Services are the strictest: they begin with a letter and have no dots. */}}
{{- define "proxywatch.fullname" -}}
{{- $name := include "proxywatch.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full = default $full .Values.fullnameOverride | trunc 40 | trimAll "-." -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "the names of this release would begin with %q, but a Service's name begins with a letter and holds only lower-case letters, digits and hyphens: set fullnameOverride to such a name" $full) -}}
{{- end -}}
{{- $full -}}
{{- end }}

{{- define "proxywatch.selector" -}}
app.kubernetes.io/name: {{ include "proxywatch.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "proxywatch.labels" -}}
{{ include "proxywatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* Name, namespace, labels and annotations of an object; takes context, name, and where wanted namespace, component, labels, annotations. */}}
{{- define "proxywatch.metadata" -}}
{{- $values := .context.Values -}}
{{- $labels := merge (include "proxywatch.labels" .context | fromYaml) (deepCopy (.labels | default dict)) (deepCopy $values.commonLabels) -}}
{{- with .component }}{{ $_ := set $labels "app.kubernetes.io/component" . }}{{ end -}}
name: {{ .name | quote }}
namespace: {{ .namespace | default .context.Release.Namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with merge (deepCopy (.annotations | default dict)) (deepCopy $values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A mapping with the keys of another put over it, where null takes a key away; takes a list of both. */}}
{{- define "proxywatch.override" -}}
{{- $all := index . 0 -}}
{{- range $key, $value := index . 1 -}}
{{- if kindIs "invalid" $value }}{{ $_ := unset $all $key }}{{ else }}{{ $_ := set $all $key $value }}{{ end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{/* An image's reference; takes image, context. */}}
{{- define "proxywatch.image" -}}
{{- $registry := (.context.Values.global).imageRegistry | default .image.registry | default "" | trimSuffix "/" -}}
{{- $name := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $name .image.digest | quote }}
{{- else -}}
{{ printf "%s:%s" $name (.image.tag | default .context.Chart.AppVersion) | quote }}
{{- end }}
{{- end }}

{{- define "proxywatch.pullSecrets" -}}
{{- with concat (((.Values.global).imagePullSecrets) | default list) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "proxywatch.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "proxywatch.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* The Services' details that are set for all of them; takes the values of `service`, or one proxy's put over these. */}}
{{- define "proxywatch.service" -}}
type: {{ .type | quote }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . | quote }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{ toJson . }}
{{- end }}
{{- if and .externalTrafficPolicy (ne .type "ClusterIP") }}
externalTrafficPolicy: {{ .externalTrafficPolicy | quote }}
{{- end }}
{{- with .internalTrafficPolicy }}
internalTrafficPolicy: {{ . | quote }}
{{- end }}
{{- with .sessionAffinity }}
sessionAffinity: {{ . | quote }}
{{- end }}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . | quote }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}
