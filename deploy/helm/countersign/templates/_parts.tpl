{{/* Only what Go's template language has itself is used here, none of Helm's functions: the tests render it so. */}}
{{ define "cs.map" }}{{ if eq (printf "%T" .) "string" }}{{ printf "%q" . }}{{ else }}{ {{ range $name, $value := . }}{{ printf "%q" $name }}: {{ template "cs.map" $value }}, {{ end }}}{{ end }}{{ end }}

{{ define "cs.labels" }}app.kubernetes.io/name: countersign, app.kubernetes.io/instance: {{ printf "%q" .Release.Name }}{{ end }}

{{/* Files keep their modes where a volume is mounted again: keys that others could read are refused. */}}
{{ define "cs.pod" }}{ runAsNonRoot: true, runAsUser: {{ .Values.owner }}, runAsGroup: {{ .Values.owner }}, fsGroup: {{ .Values.owner }}, fsGroupChangePolicy: OnRootMismatch, seccompProfile: { type: RuntimeDefault } }{{ end }}

{{ define "cs.container" }}{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }{{ end }}

{{/* A Secret is mounted readable by a group (288 is 0440); its files are copied into memory, with the mode that is asked for. */}}
{{ define "cs.copy" }}[sh, -c, 'umask 077 && cp /etc/countersign/secret/* /etc/countersign/keys/']{{ end }}
{{ define "cs.copyMounts" }}[{ name: secret, mountPath: /etc/countersign/secret, readOnly: true }, { name: keys, mountPath: /etc/countersign/keys }]{{ end }}
{{ define "cs.copyResources" }}{ requests: { cpu: 10m, memory: 16Mi }, limits: { memory: 64Mi } }{{ end }}
{{ define "cs.keys" }}{ name: keys, emptyDir: { medium: Memory, sizeLimit: 16Mi } }{{ end }}
{{ define "cs.tmp" }}{ name: tmp, emptyDir: { sizeLimit: 1Gi } }{{ end }}
{{ define "cs.keyMounts" }}{ name: keys, mountPath: /etc/countersign/keys, readOnly: true }, { name: tmp, mountPath: /tmp }{{ end }}

{{ define "cs.redisEnv" }}{ name: COUNTERSIGN_REDIS_URL, value: {{ printf "%q" .Values.redis.url }} }, { name: COUNTERSIGN_SHARD, value: {{ printf "%q" .Values.redis.shard }} }, { name: COUNTERSIGN_REDIS_PASSWORD_FILE, value: /etc/countersign/keys/redis.password }, { name: COUNTERSIGN_CATALOG, value: /etc/countersign/keys/models.json }{{ end }}
{{ define "cs.serviceEnv" }}{ name: COUNTERSIGN_TICKET_KEY_FILE, value: /etc/countersign/keys/ticket.key }, { name: COUNTERSIGN_SECRETS_KEY_FILES, value: /etc/countersign/keys/secrets.key }, { name: COUNTERSIGN_KEYRING, value: /etc/countersign/keys/keyring.json }, { name: COUNTERSIGN_TLOG, value: /var/lib/countersign/log }, { name: COUNTERSIGN_FILES, value: /var/lib/countersign/files }, { name: COUNTERSIGN_BLOBS, value: /var/lib/countersign/blobs }{{ end }}
{{ define "cs.serviceMounts" }}{ name: blobs, mountPath: /var/lib/countersign/blobs }, { name: files, mountPath: /var/lib/countersign/files }, { name: log, mountPath: /var/lib/countersign/log, readOnly: true }{{ end }}
{{ define "cs.blobs" }}{ name: blobs, persistentVolumeClaim: { claimName: {{ .Values.volumes.blobs }} } }{{ end }}
{{ define "cs.files" }}{ name: files, persistentVolumeClaim: { claimName: {{ .Values.volumes.files }} } }{{ end }}
{{ define "cs.log" }}{ name: log, persistentVolumeClaim: { claimName: {{ .Values.volumes.log }} } }{{ end }}
{{ define "cs.models" }}{ name: models, persistentVolumeClaim: { claimName: {{ .Values.volumes.models }}, readOnly: true } }{{ end }}
{{ define "cs.list" }}{ name: list, persistentVolumeClaim: { claimName: {{ .Values.volumes.list }} } }{{ end }}

{{/* Metrics say nothing of Redis: a Redis that is away must not end processes, which wait for it. */}}
{{ define "cs.metricsEnv" }}{ name: COUNTERSIGN_METRICS_HOST, value: '0.0.0.0' }, { name: COUNTERSIGN_METRICS_PORT, value: '9464' }{{ end }}
{{ define "cs.live" }}{ httpGet: { path: /metrics, port: metrics }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }{{ end }}
{{ define "cs.ready" }}{ httpGet: { path: /health, port: metrics }, periodSeconds: 5, timeoutSeconds: 3 }{{ end }}
{{ define "cs.webLive" }}{ httpGet: { path: /health/live, port: http }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 }{{ end }}

{{/* Those who call learn that a process goes before it does. */}}
{{ define "cs.leave" }}{ preStop: { sleep: { seconds: 5 } } }{{ end }}
