{{/* The container with WireGuard and Dante; takes context, and proxy, one of `proxies`. */}}
{{- define "proxywatch.proxy" -}}
{{- $values := .context.Values.proxy -}}
name: proxy
image: {{ include "proxywatch.image" (dict "image" $values.image "context" .context) }}
imagePullPolicy: {{ $values.image.pullPolicy | quote }}
env:
  - {name: WIREGUARD, value: {{ $values.wireguard.implementation | quote }}}
  - {name: DANTE_LOG_LIMIT, value: {{ int64 $values.logLimitMiB | quote }}}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: socks, containerPort: 1080, protocol: TCP}
{{- if $values.restartWhenTunnelIsDead }}
livenessProbe:  # asks the sidecar; one that does not answer is no reason to restart
  exec: {command: [/usr/local/bin/tunnel-alive]}
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}
securityContext:
  {{- $ours := dict
    "runAsUser" 0
    "runAsNonRoot" false
    "readOnlyRootFilesystem" true
    "allowPrivilegeEscalation" false
    "capabilities" (dict "drop" (list "ALL") "add" (list "NET_ADMIN" "SETGID" "SETUID")) }}
  {{- include "proxywatch.override" (list $ours $values.securityContext) | nindent 2 }}
resources:
  {{- toYaml (.proxy.resources | default $values.resources) | nindent 2 }}
volumeMounts:
  - {name: wireguard, mountPath: /etc/wireguard, readOnly: true}
  - {name: log, mountPath: /var/log/dante}
  - {name: tunnel, mountPath: /run/tunnel}
  - {name: run, mountPath: /tmp, subPath: tmp}
  - {name: run, mountPath: /run/dante, subPath: dante}
  - {name: run, mountPath: /run/wireguard, subPath: wireguard}
  {{- if $values.usersSecret }}
  - {name: users, mountPath: /etc/dante, readOnly: true}
  {{- end }}
  {{- if eq $values.wireguard.implementation "userspace" }}
  - {name: tun, mountPath: /dev/net/tun, readOnly: true}  # a device can be used all the same
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
