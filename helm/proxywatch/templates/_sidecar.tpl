{{/*
What puts proxywatch into a pod, of this chart or of another one that depends on it. All take a dict of `context`
(in another chart: .Subcharts.proxywatch), `name` (of the proxy) and, where wanted, `settings` (over sidecar.settings)
and `resources`. `pool` is true for this chart's own pods, of which Dante alone goes by the tunnel: that the pod itself
gets out beside it is no leak there, unless a network policy is to prevent it.

  proxywatch.native      "true" when the sidecar belongs under initContainers, else empty
  proxywatch.sidecar     the container
  proxywatch.volumes     its volumes; the log's is the pod's own
  proxywatch.settings    its file of settings, for a ConfigMap named by proxywatch.configName
*/}}

{{- define "proxywatch.native" -}}
{{- $wanted := toString .context.Values.sidecar.native -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (semverCompare ">=1.29.0-0" .context.Capabilities.KubeVersion.Version)) -}}
true
{{- end -}}
{{- end }}

{{- define "proxywatch.configName" -}}
{{ include "proxywatch.fullname" .context }}-{{ .name }}
{{- end }}

{{- define "proxywatch.settings" -}}
{{- $values := .context.Values -}}
{{- $ours := dict
  "proxy" (dict "name" .name)
  "interface" (dict "exit_when_orphaned" true)
  "sessions" (dict "log" (printf "/var/log/dante/%s" $values.sidecar.logFile) "start" "beginning" "checkpoint" "/var/lib/proxywatch/sessions.json")
  "http" (dict "listen" ":9090")
  "health" (dict "listen" ":9999")
-}}
{{- if .pool -}}
{{- $confined := and $values.networkPolicy.enabled (not (empty $values.networkPolicy.egress)) -}}
{{- $_ := set $ours "exit" (dict "direct" $confined "leaks" $confined) -}}
{{- end -}}
{{- with $values.sidecar.tunnelVolume }}{{ $_ := set $ours "wireguard" (dict "sockets" "/run/tunnel") }}{{ end -}}
{{- with $values.sidecar.login }}{{ if .username -}}
{{- $_ := set $ours.proxy "username" .username }}{{ $_ = set $ours.proxy "password_file" "/etc/proxywatch-login/password" -}}
{{- end }}{{ end -}}
{{- $all := mustMergeOverwrite $ours (deepCopy $values.sidecar.settings) (deepCopy (.settings | default dict)) -}}
{{- if hasKey $all.proxy "password" -}}
{{- fail "settings.proxy.password would be readable in a ConfigMap: put the password into a Secret and name it in sidecar.login" -}}
{{- end -}}
{{- if contains "@" (toString $all.proxy.url) -}}
{{- fail "settings.proxy.url holds a login, which would be readable in a ConfigMap: put the password into a Secret and name it in sidecar.login" -}}
{{- end -}}
{{- toYaml $all }}
{{- end }}

{{- define "proxywatch.sidecar" -}}
{{- $values := .context.Values.sidecar -}}
{{- range $values.extraEnv }}
{{- if and (contains "PASSWORD" .name) .value }}
{{- fail (printf "sidecar.extraEnv: %s is written out; take it from a Secret by valueFrom.secretKeyRef" .name) }}
{{- end }}
{{- end -}}
name: proxywatch
image: {{ include "proxywatch.image" (dict "image" $values.image "context" .context) }}
imagePullPolicy: {{ $values.image.pullPolicy | quote }}
args: [run, --watch, -c, /etc/proxywatch/proxywatch.yaml]
{{- if include "proxywatch.native" . }}
restartPolicy: Always
{{- end }}
{{- with $values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - {name: metrics, containerPort: 9090, protocol: TCP}
  - {name: health, containerPort: 9999, protocol: TCP}
startupProbe:
  httpGet: {path: /livez, port: 9999}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:  # whether the process works; never whether the VPN does, which is the proxy container's affair
  httpGet: {path: /livez, port: 9999}
  periodSeconds: 20
  timeoutSeconds: 3
readinessProbe:
  httpGet: {path: /readyz, port: 9999}
  periodSeconds: 10
  timeoutSeconds: 3
securityContext:
  {{- $ours := dict
    "runAsNonRoot" true
    "readOnlyRootFilesystem" true
    "allowPrivilegeEscalation" false
    "capabilities" (dict "drop" (list "ALL"))
    "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- if not .context.Values.openshift }}{{ $ours = merge $ours (dict "runAsUser" 65532 "runAsGroup" 65532) }}{{ end }}
  {{- include "proxywatch.override" (list $ours $values.securityContext) | nindent 2 }}
resources:
  {{- toYaml (.resources | default $values.resources) | nindent 2 }}
volumeMounts:
  - {name: proxywatch-settings, mountPath: /etc/proxywatch, readOnly: true}  # the directory, so that changes arrive
  - {name: proxywatch-state, mountPath: /var/lib/proxywatch}
  - {name: {{ $values.logVolume | quote }}, mountPath: /var/log/dante, readOnly: true}
  {{- with $values.tunnelVolume }}
  - {name: {{ . | quote }}, mountPath: /run/tunnel, readOnly: true}
  {{- end }}
  {{- if $values.login.username }}
  - {name: proxywatch-login, mountPath: /etc/proxywatch-login, readOnly: true}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What is missing of these must not keep the pod's other containers from starting. */}}
{{- define "proxywatch.volumes" -}}
- name: proxywatch-settings
  configMap: {name: {{ include "proxywatch.configName" . | quote }}, optional: true}
- name: proxywatch-state  # in memory: a full one is the sidecar's trouble, one on disk would have the pod evicted
  emptyDir: {medium: Memory, sizeLimit: 32Mi}
{{- with .context.Values.sidecar.login }}
{{- if .username }}
- name: proxywatch-login
  secret:
    secretName: {{ .secret | required "sidecar.login.secret is needed for its username" | quote }}
    optional: true
    defaultMode: 0440
    items: [{key: {{ .key | quote }}, path: password}]
{{- end }}
{{- end }}
{{- end }}
