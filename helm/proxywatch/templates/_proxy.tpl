{{/* The container with WireGuard and Dante. */}}
{{- define "proxywatch.proxy" -}}
{{- $values := .Values.proxy -}}
name: proxy
image: {{ include "proxywatch.image" (dict "image" $values.image "context" .) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
env:
  - {name: WIREGUARD, value: {{ $values.wireguard.implementation }}}
  - {name: DANTE_LOG_LIMIT, value: {{ $values.logLimitMiB | quote }}}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - {name: socks, containerPort: 1080, protocol: TCP}
{{- if $values.restartWhenTunnelIsDead }}
startupProbe:  # the sidecar answers for the tunnel
  httpGet: {path: /vpnz, port: 9999}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /vpnz, port: 9999}
  periodSeconds: 30
  timeoutSeconds: 3
  failureThreshold: 6
{{- end }}
securityContext:
  runAsUser: 0  # Dante's mother; her children, who speak with clients, are nobody's
  runAsNonRoot: false
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
    add: [NET_ADMIN, SETGID, SETUID]  # the tunnel and its routes; children that are nobody
resources:
  {{- toYaml $values.resources | nindent 2 }}
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
  - {name: tun, mountPath: /dev/net/tun}
  {{- end }}
{{- end }}
